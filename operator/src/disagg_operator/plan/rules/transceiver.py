"""Rules about ``cache_transceiver_config``, the section in which TensorRT-LLM is told how KV cache moves."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.plan.engines.config import value_at
from disagg_operator.plan.engines.trtllm import TOKENS_PER_BLOCK, TRANSCEIVER
from disagg_operator.plan.model import PREFILL
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.plan.verification import USUAL_PROMPT_TOKENS

_DOC = "https://nvidia.github.io/TensorRT-LLM/features/disagg-serving.html"
_KV_DOC = "https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html"


def _sections(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Yield what each role has in the place of the section, with its path, for an engine that knows it."""
    if subject.trtllm is None:
        return
    for path, role in subject.roles():
        yield f"{path}.engineConfig.{TRANSCEIVER}", role.engine_config.get(TRANSCEIVER)


def _is_there(subject: Subject) -> Iterator[Finding]:
    for path, section in _sections(subject):
        if section is None:
            yield Finding(path, "is not there, so TensorRT-LLM would transfer nothing", "Leave it out")


def _maps(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((path, section) for path, section in _sections(subject) if isinstance(section, Mapping))


def _backend(subject: Subject) -> Iterator[Finding]:
    method = subject.plan.transfer.method
    for path, section in _maps(subject):
        given = section.get("backend")
        if given is None:
            fault = "without a backend TensorRT-LLM transfers nothing"
        elif str(given).upper() == "DEFAULT":
            fault = "DEFAULT is whatever the image's variables say, and on each role for itself"
        elif str(given).upper() != method:
            fault = f"contradicts the transfer method of this deployment, {method}"
        else:
            continue
        yield Finding(f"{path}.backend", fault, "Leave it out and write spec.transfer.method")


def _settled(subject: Subject) -> Iterator[Finding]:
    """Find what the resource's own fields say for both roles."""
    transfer = subject.spec.transfer
    fields: dict[str, tuple[str, Any]] = {
        "kv_transfer_timeout_ms": ("spec.transfer.timeoutSeconds", transfer.timeout_seconds * 1000),
        "max_tokens_in_buffer": ("spec.transfer.maxTokensInBuffer", transfer.max_tokens_in_buffer),
    }
    for path, section in _maps(subject):
        for name, (field, derived) in fields.items():
            if name in section and derived is not None and section[name] != derived:
                remedy = f"Leave it out and write {field}, which is for both roles"
                yield Finding(f"{path}.{name}", f"contradicts {field}", remedy)


def _buffer_blocks(subject: Subject) -> Iterator[Finding]:
    for path, role in subject.roles():
        tokens = value_at(role.engine_config, f"{TRANSCEIVER}.max_tokens_in_buffer")
        block = value_at(role.engine_config, "kv_cache_config.tokens_per_block") or TOKENS_PER_BLOCK
        if isinstance(tokens, int) and isinstance(block, int) and tokens % block:
            fault = f"{tokens} is no multiple of the KV block of {block} tokens, on which TensorRT-LLM ends"
            upper = -(-tokens // block) * block
            yield Finding(
                _buffer_field(subject, path), fault, f"Write {upper} or another multiple of {block}"
            )


def _buffer_small(subject: Subject) -> Iterator[Finding]:
    longest, whose = _longest_prompt(subject.plan.roles[PREFILL].engine_config), "the longest prompt"
    if longest is None and subject.plan.verification is not None:
        # Of users' prompts nothing is said; this one is sent by the operator.
        longest, whose = (
            subject.plan.verification.prompt_tokens or USUAL_PROMPT_TOKENS,
            "verification's prompt",
        )
    for path, role in subject.roles():
        tokens = value_at(role.engine_config, f"{TRANSCEIVER}.max_tokens_in_buffer")
        if isinstance(tokens, int) and longest is not None and 0 < tokens < longest:
            fault = f"the transfer buffer of {tokens} tokens is smaller than {whose} ({longest})"
            remedy = "Write at least the length of your longest prompt, or KV cache moves more slowly"
            yield Finding(_buffer_field(subject, path), fault, remedy)


def _longest_prompt(prefill: Mapping[str, Any]) -> int | None:
    """Return how many tokens a prompt may have, as far as prefill's configuration says so."""
    bounds = [prefill.get("max_seq_len")]
    if prefill.get("enable_chunked_prefill") is not True:
        bounds.append(prefill.get("max_num_tokens"))
    return min((bound for bound in bounds if isinstance(bound, int)), default=None)


def _buffer_field(subject: Subject, path: str) -> str:
    by_field = subject.spec.transfer.max_tokens_in_buffer is not None
    own = f"{path}.engineConfig.{TRANSCEIVER}.max_tokens_in_buffer"
    return "spec.transfer.maxTokensInBuffer" if by_field else own


def _python_runtime(subject: Subject) -> Iterator[Finding]:
    for path, section in _maps(subject):
        if section.get("transceiver_runtime") != "PYTHON":
            continue
        if subject.plan.transfer.method != "NIXL":
            fault = (
                f"the Python runtime moves KV cache with NIXL alone, not with {subject.plan.transfer.method}"
            )
            yield Finding(
                f"{path}.transceiver_runtime", fault, "Leave it out, or write transfer.method: NIXL"
            )


def _pipelined(subject: Subject) -> Iterator[Finding]:
    staged = [path for path, role in subject.roles() if _size(role.engine_config, "pipeline") > 1]
    prefill = subject.plan.roles[PREFILL].engine_config
    for path, section in _maps(subject):
        if section.get("enable_pipelined_transfer") is not True:
            continue
        field = f"{path}.enable_pipelined_transfer"
        if subject.plan.transfer.method != "NIXL" or section.get("transceiver_runtime") == "CPP":
            yield Finding(field, "needs the Python runtime over NIXL", "Leave it out, or use that runtime")
        elif staged:
            fault = f"needs pipeline size 1 on both roles, and {staged[0]} has more"
            yield Finding(field, fault, "Leave it out, or use tensor parallelism instead")
        elif prefill.get("enable_chunked_prefill") is not True:
            fault = "sends chunks of a prompt, and prefill does not compute prompts in chunks"
            remedy = "Leave it out, or write enable_chunked_prefill: true in spec.prefill.engineConfig"
            yield Finding(field, fault, remedy)
        elif section.get("kv_cache_bounce_size_mb"):
            yield Finding(field, "does not go with a bounce buffer", "Leave one of them out")


def _size(config: Mapping[str, Any], kind: str) -> int:
    size = config.get(f"{kind}_parallel_size")
    return size if isinstance(size, int) else 1


RULES: tuple[Rule[Subject], ...] = (
    Rule("transceiver-is-there", _DOC, _is_there),
    Rule("transceiver-backend-agrees", f"{_KV_DOC}#alternative-method-ucx", _backend),
    Rule(
        "transceiver-fields-agree",
        "docs: spec.transfer",
        _settled,
        says="the engine's configuration contradicts spec.transfer",
    ),
    Rule("buffer-of-whole-blocks", "TensorRT-LLM: cacheTransBuffer.cpp", _buffer_blocks),
    Rule("buffer-holds-prompt", _DOC, _buffer_small, severity=Severity.WARN),
    Rule("python-runtime-needs-nixl", "TensorRT-LLM: kv_cache_transceiver.py", _python_runtime, unsafe=True),
    Rule("pipelined-transfer-possible", "TensorRT-LLM: llm_args.py", _pipelined, unsafe=True),
)
