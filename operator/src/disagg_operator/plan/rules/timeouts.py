"""Rules about how long one side waits for the other while KV cache moves."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.admission.templates import mapping, templates
from disagg_operator.plan.engines.trtllm import TRANSCEIVER
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.trtllm.schema import argument

TIMEOUT = "kv_transfer_timeout_ms"
_BREAKING = "https://github.com/NVIDIA/TensorRT-LLM/pull/12249"
_CONFIG = "TensorRT-LLM: llm_args.py"
_FIELD = "spec.transfer.timeoutSeconds"
_DERIVED = f"Leave it out: {_FIELD} is for both roles"


def _sections(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each role's section about transfers with its path, for an engine that knows it."""
    if subject.trtllm is not None:
        for path, role in subject.roles():
            section = role.engine_config.get(TRANSCEIVER)
            if isinstance(section, Mapping):
                yield f"{path}.engineConfig.{TRANSCEIVER}", section


def _unlimited(subject: Subject) -> list[str]:
    """Return the paths of sections whose limit was taken out, where the release knows one."""
    known = subject.trtllm is not None and argument(subject.trtllm, f"{TRANSCEIVER}.{TIMEOUT}")
    found = _sections(subject) if known else ()
    return [path for path, section in found if section.get(TIMEOUT) is None]


def _one_sided(subject: Subject) -> Iterator[Finding]:
    """Find a limit that one role alone has: the other waits for what its peer gave up."""
    without = _unlimited(subject)
    if len(without) == 1:
        fault = "one role gives a transfer up, and this one waits for it as its release likes, maybe for ever"
        yield Finding(f"{without[0]}.{TIMEOUT}", fault, _DERIVED)


def _endless(subject: Subject) -> Iterator[Finding]:
    without = _unlimited(subject)
    for path in without if len(without) > 1 else ():
        fault = "without it, some releases wait for ever for a transfer whose other side is gone"
        yield Finding(f"{path}.{TIMEOUT}", fault, _DERIVED)


def _unheard(subject: Subject) -> Iterator[Finding]:
    """Find a limit that the user writes and the engine cannot be told."""
    version = subject.trtllm
    if version is None or argument(version, f"{TRANSCEIVER}.{TIMEOUT}"):
        return
    if subject.spec.transfer.limit_written:
        fault = f"TensorRT-LLM {version} knows no limit: it waits for ever for a lost transfer"
        yield Finding(_FIELD, fault, "Leave it out, or write a newer runtime.version")


def _python_runtime(subject: Subject) -> Iterator[Finding]:
    for path, section in _sections(subject):
        if section.get("transceiver_runtime") == "PYTHON" and path in _unlimited(subject):
            fault = "the Python runtime does not start without a limit for a transfer"
            yield Finding(f"{path}.{TIMEOUT}", fault, _DERIVED)


def _sender_waits(subject: Subject) -> Iterator[Finding]:
    for field, waits, limit in _longer(subject, "kv_transfer_sender_future_timeout_ms"):
        fault = f"a sender that waits {waits} ms outlives the transfer, which ends after {limit} ms"
        yield Finding(field, fault, f"Write at most {limit}")


def _seldom_looks(subject: Subject) -> Iterator[Finding]:
    for field, pause, limit in _longer(subject, "kv_transfer_poll_interval_ms"):
        fault = f"who looks every {pause} ms sees late that a transfer ended, which it does after {limit} ms"
        yield Finding(field, fault, f"Write at most {limit}")


def _longer(subject: Subject, name: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, value and limit where a time is longer than a transfer may take."""
    for path, section in _sections(subject):
        time, limit = section.get(name), section.get(TIMEOUT)
        if isinstance(time, int) and isinstance(limit, int) and time > limit:
            yield f"{path}.{name}", time, limit


def _killed_early(subject: Subject) -> Iterator[Finding]:
    """Find workers that are killed while a peer may still read their KV cache."""
    limit = subject.spec.transfer.timeout_seconds
    for path, template in templates(subject.spec):
        grace = mapping(template, "spec").get("terminationGracePeriodSeconds")
        is_worker = path.startswith(tuple(place for place, _ in subject.roles()))
        if is_worker and isinstance(grace, int) and grace < limit:
            fault = f"a worker is killed after {grace} s, and a transfer may take {limit} s ({_FIELD})"
            remedy = f"Write at least {limit}, or leave it out"
            yield Finding(f"{path}.spec.terminationGracePeriodSeconds", fault, remedy)


RULES: tuple[Rule[Subject], ...] = (
    Rule("transfer-timeout-equal", f"{_CONFIG}, transceiver_runtime", _one_sided),
    Rule("transfer-timeout-set", _BREAKING, _endless, severity=Severity.WARN),
    Rule("transfer-timeout-known", _BREAKING, _unheard, severity=Severity.WARN),
    Rule("python-runtime-needs-timeout", _CONFIG, _python_runtime, unsafe=True),
    Rule("sender-wait-within-timeout", _CONFIG, _sender_waits, severity=Severity.WARN),
    Rule("poll-within-timeout", _CONFIG, _seldom_looks, severity=Severity.WARN),
    Rule(
        "grace-covers-transfer",
        "https://github.com/ai-dynamo/dynamo/issues/4917",
        _killed_early,
        severity=Severity.WARN,
    ),
)
