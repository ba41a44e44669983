"""Rules about the arguments of engines that have no other configuration: vLLM, SGLang, Dynamo's mocker."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.plan.engines.by_arguments import Dialect, named
from disagg_operator.plan.engines.config import value_at
from disagg_operator.plan.engines.registry import ENGINES
from disagg_operator.plan.model import DECODE
from disagg_operator.plan.rules.remedies import instead
from disagg_operator.plan.rules.subject import Subject, variable, written_at

_TABLES = "the engine's sources: platforms/arguments"
_CONNECTOR = "kv-transfer-config"
_KV_DTYPE = "kv-cache-dtype"
_FIXED = ("kv_connector", "kv_role", "kv_connector_module_path", "kv_connector_extra_config.backends")
"""What both roles must agree on, or what spec.transfer says, inside vLLM's configuration of its connector."""
_LIMITS = {"VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "SGLANG_DISAGGREGATION_WAITING_TIMEOUT"}
_DOC = "https://docs.vllm.ai/en/stable/features/nixl_connector_usage/"


def _written(subject: Subject) -> Iterator[tuple[str, Dialect, Mapping[str, Any]]]:
    """Yield path, dialect and arguments of each role, as the user writes them."""
    dialect = ENGINES[subject.spec.runtime.engine].dialect
    if dialect is not None:
        for role, spec in (("prefill", subject.spec.prefill), ("decode", subject.spec.decode)):
            yield f"spec.{role}.engineConfig", dialect, named(spec.engine_config)


def _owned(subject: Subject) -> Iterator[Finding]:
    for path, dialect, written in _written(subject):
        role = path.split(".")[1]
        for name in written:
            if name in dialect.owned:
                says = dialect.owned[name].replace("*", role)
                yield Finding(f"{path}.{name}", f"follows from {says}", "Leave it out")


def _unknown(subject: Subject) -> Iterator[Finding]:
    version = subject.platform.release.version
    for path, dialect, written in _written(subject):
        if not dialect.table.knows(version):
            continue
        for name in written:
            if version not in dialect.table.versions_with(name):
                fault = f"{dialect.name} {version} has no argument --{name}, and would not start"
                remedy = instead(dialect.name, dialect.table, name, dialect.table.of(version))
                yield Finding(f"{path}.{name}", fault, remedy)


def _switch(subject: Subject) -> Iterator[Finding]:
    for path, dialect, written in _written(subject):
        for name, value in written.items():
            if dialect.table.is_switch(name) and not isinstance(value, bool | None):
                yield Finding(f"{path}.{name}", f"{value!r} is no value of a switch", "Write true or false")


def _connector(subject: Subject) -> Iterator[Finding]:
    for path, dialect, written in _written(subject):
        if _CONNECTOR not in written or _CONNECTOR not in dialect.table.arguments:
            continue
        place, asked = f"{path}.{_CONNECTOR}", written[_CONNECTOR]
        if not isinstance(asked, Mapping):
            yield Finding(place, "is no map, so KV cache would not move", "Write a map, or leave it out")
            continue
        for key in _FIXED:
            if value_at(asked, key) is not None or (key in asked and asked[key] is None):
                fault = "follows from the role and spec.transfer, and prefill and decode must agree on it"
                yield Finding(f"{place}.{key}", fault, "Leave it out")


def _connector_variable(subject: Subject) -> Iterator[Finding]:
    if subject.spec.runtime.engine != "vllm":
        return
    for _, role in subject.roles():
        setting = variable(role, "DYN_CONNECTOR")
        if setting is not None:
            fault = (
                "Dynamo's vLLM worker does not start where it is set: its connector is --kv-transfer-config"
            )
            yield Finding(written_at(role, setting), fault, "Leave it out; spec.transfer says what is used")


def _same_dtype(subject: Subject) -> Iterator[Finding]:
    values = [written.get(_KV_DTYPE) or "auto" for _, _, written in _written(subject)]
    if values and values[0] != values[1]:
        fault = (
            f"the KV cache is of type {values[1]} here and {values[0]} on prefill, whose blocks do not fit"
        )
        yield Finding(f"spec.{DECODE}.engineConfig.{_KV_DTYPE}", fault, "Write the same on both roles")


def _unheard(subject: Subject) -> Iterator[Finding]:
    """Find a limit that the user writes and the engine cannot be told."""
    dialect = ENGINES[subject.spec.runtime.engine].dialect
    written = subject.spec.transfer.limit_written
    if dialect is None or not written or subject.plan.transfer.simulated:
        return
    told = {setting.name for _, role in subject.roles() for setting in role.pod.environment}
    if not told & _LIMITS:
        fault = (
            f"{dialect.name} {subject.platform.release.version} takes no limit: only pods that end know it"
        )
        yield Finding("spec.transfer.timeoutSeconds", fault, "Leave it out, or keep it for pods that end")


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "engine-argument-derived",
        "docs: spec.*.engineConfig",
        _owned,
        says="the operator derives this argument of the engine from other fields",
    ),
    Rule("engine-argument-known", _TABLES, _unknown, unsafe=True),
    Rule("engine-switch", _TABLES, _switch),
    Rule("vllm-connector-derived", _DOC, _connector),
    Rule("vllm-connector-variable", "Dynamo 1.0.1: dynamo/vllm/args.py", _connector_variable, unsafe=True),
    Rule("engine-kv-dtype-equal", "vLLM: nixl connector, compatibility hash", _same_dtype),
    Rule("engine-transfer-limit", "docs/engines.md", _unheard, severity=Severity.WARN),
)
