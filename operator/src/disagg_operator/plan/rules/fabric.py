"""Rules about variables that decide which transport KV cache takes, on the platform at hand."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.admission.templates import entries, mapping, templates
from disagg_operator.api.admission.variables import SHARED_MEMORY_BREAKS
from disagg_operator.api.transport import RDMA, Transport
from disagg_operator.api.ucx import UCX_TLS, may_take
from disagg_operator.api.v1alpha1.variables import (
    EFA_SHARED_MEMORY,
    ENGINE_NEUTRAL_BACKEND,
    NIXL_BACKEND,
    SGLANG_BACKEND,
)
from disagg_operator.plan.facts import image_kind
from disagg_operator.plan.hardware import gpu_resource
from disagg_operator.plan.model import EnvSetting, RolePlan
from disagg_operator.plan.rules.subject import Subject, variable, written_at
from disagg_operator.platforms.vocabulary import STANDARD

_KV_DOC = "https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html"
_UCX_DOC = "https://openucx.readthedocs.io/en/master/faq.html"
_HYBRIDS = re.compile(r"mamba|jamba|bamba|nemotron-?(3|h)\b|nemotron-3", re.IGNORECASE)
_HYBRID = "looks like a hybrid of Mamba and attention, whose state NIXL transceivers may not move"
_EFA_SDK = "/opt/amazon/efa"
_LIBFABRIC = "LIBFABRIC"
EFA = "efa"
"""Kind of the fabrics that these rules know best."""
TCP = "tcp"


def _settings(subject: Subject, name: str) -> Iterator[tuple[RolePlan, EnvSetting, str]]:
    """Yield the role, the setting and the value of a variable where it has a literal one."""
    for _, role in subject.roles():
        setting = variable(role, name)
        if setting is not None and setting.value is not None:
            yield role, setting, setting.value


def _by_user(setting: EnvSetting) -> bool:
    return re.match(r"spec\.(env|prefill\.env|decode\.env)", setting.provenance.source) is not None


def _on(subject: Subject, kind: str) -> bool:
    return kind in {fabric.kind for fabric in subject.platform.fabrics}


def _ucx_without_cuda(subject: Subject) -> Iterator[Finding]:
    if not subject.on_gpu:
        return
    for role, setting, value in _settings(subject, UCX_TLS):
        names = [name.strip() for name in value.removeprefix("^").split(",")]
        excluded = value.startswith("^")
        cuda = [name for name in names if name in {"cuda", "cuda_copy"}]
        if bool(cuda) == excluded and "all" not in names:
            fault = f"UCX_TLS={value} leaves CUDA out: UCX takes GPU memory for host memory, and NIXL aborts"
            remedy = "Take cuda out of what it excludes" if excluded else "Add cuda_copy,cuda_ipc"
            yield Finding(written_at(role, setting), fault, f"{remedy}, or leave UCX_TLS out")


def _ucx_without_tcp(subject: Subject) -> Iterator[Finding]:
    if {fabric.kind for fabric in subject.platform.fabrics} != {TCP}:
        return
    if subject.plan.transfer.nixl_backend == _LIBFABRIC:
        return
    for role, setting, value in _settings(subject, UCX_TLS):
        ways = {Transport.UCX_TCP} | (RDMA if _may_have_adapters(subject, role) else set())
        if not any(may_take(value, way) for way in ways - {Transport.LIBFABRIC_EFA}):
            excludes = value.startswith("^")
            fault = f"UCX_TLS={value} leaves out tcp, by which KV cache moves here: engines may not start"
            remedy = "Take tcp out of what it excludes" if excludes else "Add tcp"
            yield Finding(written_at(role, setting), fault, f"{remedy}, or leave UCX_TLS out")


def _may_have_adapters(subject: Subject, role: RolePlan) -> bool:
    """Tell whether pods are given RDMA devices, or may find them, though their platform has none."""
    given = [device for device in role.pod.devices if device.name != gpu_resource(subject.platform.machine)]
    return bool(given or role.pod.overrides) or role.pod.security.mode == "Privileged"


def _cuda_ipc_excluded(subject: Subject) -> Iterator[Finding]:
    # Where KV cache crosses another fabric, UCX may well be kept off NVLink.
    if subject.platform.fabrics[0].domain is None:
        return
    for role, setting, value in _settings(subject, UCX_TLS):
        names = {name.strip() for name in value.removeprefix("^").split(",")}
        has = ("cuda_ipc" in names or "cuda" in names) != value.startswith("^")
        if not has and "all" not in names:
            fault = f"UCX_TLS={value} rules out cuda_ipc, the transport that crosses NVLink between nodes"
            remedy = "Take cuda_ipc out of what it excludes" if value.startswith("^") else "Add cuda_ipc"
            yield Finding(written_at(role, setting), fault, f"{remedy}, or leave UCX_TLS out")


def _other_provider(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA):
        return
    for _, role in subject.roles():
        setting = variable(role, "FI_PROVIDER")
        if setting is not None and setting.value not in (None, "efa"):
            fault = f"FI_PROVIDER={setting.value} makes libfabric leave EFA and fall back to sockets"
            yield Finding(written_at(role, setting), fault, "Leave it out: efa is derived")


def _shared_memory(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA):
        return
    for _, role in subject.roles():
        setting = variable(role, EFA_SHARED_MEMORY)
        # What the user writes as a variable is judged as it is written.
        if setting is None or (setting.value != "0" and not _by_user(setting)):
            source = "" if setting is None else setting.provenance.source
            field = source if source.startswith("spec.") else "spec.platform"
            yield Finding(field, SHARED_MEMORY_BREAKS, 'Let the profile say "0"')


def _no_device_rdma(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA):
        return
    for role, setting, value in _settings(subject, "FI_EFA_USE_DEVICE_RDMA"):
        if value != "1":
            fault = (
                f"FI_EFA_USE_DEVICE_RDMA={value} keeps the adapter from reading and writing GPU memory itself"
            )
            yield Finding(written_at(role, setting), fault, 'Write "1" or leave it out')


def _efa_library(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA):
        return
    for role, setting, value in _settings(subject, "LD_LIBRARY_PATH"):
        if not value.startswith(f"{_EFA_SDK}/lib"):
            fault = "another libfabric than the EFA SDK's is found first"
            yield Finding(written_at(role, setting), fault, f"Begin it with {_EFA_SDK}/lib")


def _second_backend(subject: Subject) -> Iterator[Finding]:
    for _, role in subject.roles():
        setting = variable(role, ENGINE_NEUTRAL_BACKEND)
        if setting is not None and variable(role, NIXL_BACKEND) is not None:
            fault = (
                f"TensorRT-LLM fails where {ENGINE_NEUTRAL_BACKEND} is set beside {NIXL_BACKEND}, as it is"
            )
            remedy = "Leave it out and write spec.transfer.nixlBackend"
            yield Finding(written_at(role, setting), fault, remedy)


def _backend_agrees(subject: Subject) -> Iterator[Finding]:
    derived = subject.plan.transfer.nixl_backend
    for name in (NIXL_BACKEND, SGLANG_BACKEND):
        for role, setting, value in _settings(subject, name):
            if derived is not None and value != derived:
                fault = f"{value} contradicts the NIXL backend of this deployment, {derived}"
                remedy = f"Leave it out and write spec.transfer.nixlBackend: {value}"
                yield Finding(written_at(role, setting), fault, remedy)


def _socket_names(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA):
        return
    for role, setting, value in _settings(subject, "NCCL_SOCKET_IFNAME"):
        if not value.startswith("^"):
            fault = f"a list of interfaces such as {value!r} may hide EFA from NCCL, which then uses TCP"
            yield Finding(written_at(role, setting), fault, "Write ^lo,docker,veth, or leave it out")


def _verbs_settings(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA):
        return
    for _, role in subject.roles():
        for setting in role.pod.environment:
            if setting.name.startswith("RDMAV_"):
                fault = f"{setting.name} changes how the verbs library forks and pins memory under EFA"
                yield Finding(written_at(role, setting), fault, "Leave it out")


def _no_infiniband(subject: Subject) -> Iterator[Finding]:
    fabrics = [fabric for fabric in subject.platform.fabrics if fabric.kind not in (TCP, EFA)]
    if not fabrics:
        return
    fault = f"NCCL_IB_DISABLE=1 keeps NCCL off the fabric of {subject.platform.machine.name}"
    if all(fabric.domain is not None for fabric in fabrics):
        fault = "NCCL_IB_DISABLE=1 leaves NCCL nothing but TCP wherever NVLink does not reach"
    for role, setting, value in _settings(subject, "NCCL_IB_DISABLE"):
        if value == "1":
            yield Finding(written_at(role, setting), fault, "Leave it out")


def _host_sdk(subject: Subject) -> Iterator[Finding]:
    if subject.plan.transfer.nixl_backend != _LIBFABRIC:
        return
    fault = f"the host's {_EFA_SDK} hides the libfabric that the image's LIBFABRIC plugin was built with"
    remedy = "Leave the mount out and use an image with the EFA SDK, or write nixlBackend: UCX"
    for path, role in subject.roles():
        if any(_is_sdk(mount.volume) for mount in role.pod.mounts):
            yield Finding("spec.transfer.nixlBackend", f"on {path[5:]} workers {fault}", remedy)
    for path, template in templates(subject.spec):
        for place, volume in entries(f"{path}.spec", mapping(template, "spec"), "volumes"):
            if _is_sdk(volume):
                yield Finding(f"{place}.hostPath", fault, remedy)


def _no_sdk(subject: Subject) -> Iterator[Finding]:
    if not _on(subject, EFA) or subject.plan.transfer.nixl_backend == _LIBFABRIC or not subject.on_gpu:
        return
    for _, role in subject.roles():
        mounted = any(_is_sdk(mount.volume) for mount in role.pod.mounts)
        if image_kind(role.pod.image) == STANDARD and not mounted:
            fault = f"the tag of {role.pod.image} does not say that the EFA SDK is inside"
            remedy = "Use an image with efa in its tag, which is recommended, or watch that KV cache uses srd"
            yield Finding("spec.runtime.image", fault, remedy)


def _no_libfabric(subject: Subject) -> Iterator[Finding]:
    if subject.plan.transfer.nixl_backend != _LIBFABRIC:
        return
    for _, role in subject.roles():
        if subject.on_gpu and image_kind(role.pod.image) == STANDARD:
            fault = (
                "the image's tag does not say that the EFA SDK is inside: without it, UCX is used in silence"
            )
            remedy = "Use an image with efa in its tag, or write nixlBackend: UCX"
            yield Finding("spec.runtime.image", fault, remedy)


def _is_sdk(volume: Mapping[str, Any]) -> bool:
    return str(mapping(volume, "hostPath").get("path", "")).rstrip("/").startswith(_EFA_SDK)


def _host_adapters(subject: Subject) -> Iterator[Finding]:
    for path, template in templates(subject.spec):
        for place, volume in entries(f"{path}.spec", mapping(template, "spec"), "volumes"):
            if str(mapping(volume, "hostPath").get("path", "")).startswith("/dev/infiniband"):
                fault = "the host's adapters bypass the device plugin, and turn EFA off on some machines"
                remedy = f"Leave it out: {path.removesuffix('.podTemplate')}.devices asks for adapters"
                yield Finding(f"{place}.hostPath", fault, remedy)


def _hybrid_model(subject: Subject) -> Iterator[Finding]:
    if subject.spec.runtime.engine.value != "trtllm":
        return
    source = subject.spec.model.source.hugging_face
    name = f"{subject.spec.model.name} {source.repository if source else ''}"
    if subject.plan.transfer.method == "NIXL" and _HYBRIDS.search(name):
        yield Finding("spec.transfer.method", f"{subject.spec.model.name} {_HYBRID}", "Write UCX if it fails")


def _other_plugins(subject: Subject) -> Iterator[Finding]:
    if subject.spec.runtime.engine.value != "trtllm":
        return
    prefill = subject.plan.roles["prefill"]
    setting = variable(prefill, "NIXL_PLUGIN_DIR")
    if setting is not None:
        fault = "prefill loads the system's NIXL, and its own plugin folder is the one that fits"
        yield Finding(written_at(prefill, setting), fault, "Leave it out on prefill")


RULES: tuple[Rule[Subject], ...] = (
    Rule("ucx-tls-cuda", "https://github.com/NVIDIA/TensorRT-LLM/pull/18373", _ucx_without_cuda, unsafe=True),
    Rule("ucx-tls-tcp", _UCX_DOC, _ucx_without_tcp, severity=Severity.WARN),
    Rule(
        "mnnvl-needs-cuda-ipc",
        "https://github.com/ai-dynamo/dynamo/issues/14357",
        _cuda_ipc_excluded,
        unsafe=True,
    ),
    Rule("efa-provider", f"{_KV_DOC}#aws-efa", _other_provider, unsafe=True),
    Rule(
        "efa-shared-memory-off",
        f"{_KV_DOC}#aws-efa",
        _shared_memory,
        unsafe=True,
        says=SHARED_MEMORY_BREAKS,
    ),
    Rule("efa-device-rdma", f"{_KV_DOC}#aws-efa", _no_device_rdma, severity=Severity.WARN),
    Rule("efa-library-first", f"{_KV_DOC}#aws-efa", _efa_library, unsafe=True),
    Rule("nixl-backend-agrees", f"{_KV_DOC}#specify-backends-for-nixl", _backend_agrees),
    Rule(
        "nixl-backend-once",
        "https://github.com/NVIDIA/TensorRT-LLM/issues/10024",
        _second_backend,
        unsafe=True,
    ),
    Rule("efa-sdk-in-image", f"{_KV_DOC}#aws-efa", _no_sdk, severity=Severity.WARN),
    Rule(
        "efa-host-sdk",
        "https://github.com/ai-dynamo/dynamo/pull/13048",
        _host_sdk,
        unsafe=True,
        says="the host's EFA SDK hides the libfabric that the image's LIBFABRIC plugin was built with",
    ),
    Rule(
        "libfabric-in-image",
        "https://nvidia.github.io/TensorRT-LLM/features/disagg-serving.html",
        _no_libfabric,
        severity=Severity.WARN,
    ),
    Rule(
        "efa-socket-names",
        "https://github.com/awslabs/awsome-distributed-ai",
        _socket_names,
        severity=Severity.WARN,
    ),
    Rule(
        "efa-verbs-settings",
        "https://github.com/awslabs/awsome-distributed-ai",
        _verbs_settings,
        severity=Severity.WARN,
    ),
    Rule(
        "efa-host-adapters",
        "https://github.com/aws-samples/aws-do-eks/issues/63",
        _host_adapters,
        severity=Severity.WARN,
    ),
    Rule(
        "nixl-hybrid-model",
        "https://github.com/ai-dynamo/dynamo/tree/main/recipes",
        _hybrid_model,
        severity=Severity.WARN,
        says=_HYBRID,
    ),
    Rule("nccl-on-fabric", "the machine's profile", _no_infiniband, severity=Severity.WARN),
    Rule(
        "prefill-plugin-folder",
        f"{_KV_DOC}#nixl-plugin-abi-mismatch-on-decode-multinode",
        _other_plugins,
        severity=Severity.WARN,
    ),
)
