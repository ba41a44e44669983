"""Rules about ``engineConfig`` against what the engine's version accepts, which would not start otherwise."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.plan.engines.trtllm import TRANSCEIVER
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.trtllm.schema import Unfit, Unknown, argument, faults, keys, meant

_SCHEMA = "TensorRT-LLM: llm_args.py, StrictBaseModel; platforms/trtllm/llm_args.yaml"
_PYTORCH = "pytorch"
_FEW = 8
"""Keys that are listed where nothing near is known; of more, the list helps nobody."""


def _found(subject: Subject) -> Iterator[tuple[str, str, Unknown | Unfit]]:
    """Yield what TensorRT-LLM would refuse, with its version and the path of the role's ``engineConfig``."""
    version = subject.trtllm
    if version is not None:
        for path, role in subject.roles():
            for fault in faults(_judged(role.engine_config), version):
                yield f"{path}.engineConfig", version, fault


def _judged(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is judged: of an engine other than PyTorch's, only the section about transfers is known."""
    if config.get("backend") in (None, _PYTORCH):
        return config
    return {key: value for key, value in config.items() if key == TRANSCEIVER}


def _unknown_keys(subject: Subject) -> Iterator[Finding]:
    for path, version, fault in _found(subject):
        if isinstance(fault, Unknown):
            remedy = _knowing(subject, fault.key) or _instead(version, fault.key)
            refused = f"TensorRT-LLM {version} does not know it and would not start"
            yield Finding(f"{path}.{fault.key}", refused, remedy)


def _knowing(subject: Subject, key: str) -> str | None:
    """Return the remedy for a key that other releases of the same frontend know, or None."""
    name = subject.spec.runtime.engine
    newest_first = [
        (profile.version, profile.engines[name].version)
        for profile in subject.runtimes.values()
        if name in profile.engines
    ]
    knowing = [each for each in newest_first if argument(each[1], key)]
    if not knowing:
        return None
    own = newest_first.index((subject.runtime.version, subject.platform.release.version))
    newer = [each for each in knowing if newest_first.index(each) < own]
    if not newer:
        release, version = knowing[0]
        return f"TensorRT-LLM {version} (runtime.version {release}) was the last to know it: leave it out"
    release, version = newer[-1]
    onwards = " or newer" if newer[0] == newest_first[0] else ""
    return f"TensorRT-LLM {version} knows it: write runtime.version {release}{onwards}, or leave it out"


def _instead(version: str, key: str) -> str:
    near = meant(version, key)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    known = keys(version, key.rpartition(".")[0])
    return f"Known: {', '.join(known)}" if len(known) <= _FEW else "Leave it out"


def _wrong_values(subject: Subject) -> Iterator[Finding]:
    for path, version, fault in _found(subject):
        if isinstance(fault, Unfit):
            refused = f"{fault.value!r} is not accepted by TensorRT-LLM {version}"
            yield Finding(f"{path}.{fault.key}", refused, f"Write {fault.wanted}")


RULES: tuple[Rule[Subject], ...] = (
    Rule("engine-keys-known", _SCHEMA, _unknown_keys, unsafe=True),
    Rule("engine-values", _SCHEMA, _wrong_values, unsafe=True),
)
