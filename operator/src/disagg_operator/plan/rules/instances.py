"""Rules about how vLLM and SGLang spread a model instance, and which sizes of prefill and decode fit."""

from collections.abc import Iterator

from packaging.version import Version

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.plan.engines.by_arguments import named
from disagg_operator.plan.rules.subject import Subject

_EITHER_SIZE = Version("0.14")
"""vLLM from which decode may have fewer tensor parallel ranks than prefill."""


def _tensor_sizes(subject: Subject) -> Iterator[Finding]:
    engine = subject.spec.runtime.engine
    if engine not in (Engine.VLLM, Engine.SGLANG):
        return
    prefill, decode = subject.spec.prefill.parallelism.tensor, subject.spec.decode.parallelism.tensor
    field = "spec.decode.parallelism.tensor"
    if max(prefill, decode) % min(prefill, decode):
        fault = f"{decode} ranks cannot share the KV cache of prefill's {prefill} evenly"
        yield Finding(field, fault, "Write a multiple or a divisor of prefill's")
    elif engine is Engine.VLLM and decode < prefill and _before_either_size(subject):
        fault = (
            f"vLLM {subject.platform.release.version} reads KV cache of {prefill} ranks with as many at least"
        )
        yield Finding(field, fault, f"Write {prefill} or a multiple, or a newer runtime.version")


def _before_either_size(subject: Subject) -> bool:
    return Version(subject.platform.release.version) < _EITHER_SIZE


def _stages_of_vllm(subject: Subject) -> Iterator[Finding]:
    if subject.spec.runtime.engine is not Engine.VLLM:
        return
    for path, role in (("spec.prefill", subject.spec.prefill), ("spec.decode", subject.spec.decode)):
        if role.parallelism.pipeline > 1:
            fault = "decode reads the KV cache of a first stage alone"
            yield Finding(f"{path}.parallelism.pipeline", fault, "Write 1; use tensor instead")


def _stages_of_sglang(subject: Subject) -> Iterator[Finding]:
    if subject.spec.runtime.engine is not Engine.SGLANG:
        return
    prefill, decode = subject.spec.prefill.parallelism.pipeline, subject.spec.decode.parallelism.pipeline
    if decode not in (1, prefill):
        fault = f"{decode} stages cannot take the KV cache of prefill's {prefill}"
        remedy = f"Write 1 or {prefill}" if prefill > 1 else "Write 1"
        yield Finding("spec.decode.parallelism.pipeline", fault, remedy)


def _data_parallel(subject: Subject) -> Iterator[Finding]:
    if subject.spec.runtime.engine is not Engine.SGLANG:
        return
    for path, role in (("spec.prefill", subject.spec.prefill), ("spec.decode", subject.spec.decode)):
        written = named(role.engine_config)
        size = written.get("dp-size", written.get("data-parallel-size"))
        if size not in (None, 1) and not written.get("enable-dp-attention"):
            fault = "each data parallel rank would need GPUs of its own, which this resource does not count"
            remedy = "Write enable-dp-attention: true, or more replicas"
            yield Finding(f"{path}.engineConfig.dp-size", fault, remedy)


def _fabric_memory(subject: Subject) -> Iterator[Finding]:
    nvlink = subject.platform.fabrics[0].domain is not None
    if nvlink and subject.spec.runtime.engine in (Engine.VLLM, Engine.SGLANG):
        fault = (
            "KV cache crosses NVLink between nodes only from memory with fabric handles; else it takes TCP"
        )
        remedy = "Watch the verified transport, or write engine: trtllm"
        yield Finding("spec.runtime.engine", fault, remedy)


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "engine-tensor-sizes",
        "SGLang 0.5.3: validate_disagg_tp_size; vLLM 0.10.2: nixl_connector.py",
        _tensor_sizes,
        unsafe=True,
    ),
    Rule(
        "vllm-no-pipeline", "vLLM 0.31.0: nixl/base_worker.py, pull_worker.py", _stages_of_vllm, unsafe=True
    ),
    Rule(
        "sglang-pipeline-fits", "SGLang 0.5.21: disaggregation/common/conn.py", _stages_of_sglang, unsafe=True
    ),
    Rule("sglang-data-parallel", "SGLang: server_args.py (enable_dp_attention)", _data_parallel),
    Rule(
        "engine-fabric-memory",
        "https://github.com/vllm-project/vllm/pull/51377",
        _fabric_memory,
        severity=Severity.WARN,
    ),
)
