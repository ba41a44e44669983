"""The check of a worker's pod before its engine starts: what `check_worker` is to find there.

Invariants: it asks for nothing that the plan did not ask for; it is no part of the revision, so an operator
that brings another check restarts nobody.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from disagg_operator.api.quantities import quantity
from disagg_operator.api.transport import RDMA, Transport
from disagg_operator.api.ucx import UCX_TLS, may_take
from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.engines.engine import CONFIG_FOLDER
from disagg_operator.plan.facts import Facts, first
from disagg_operator.plan.hardware import SHARED_MEMORY, fabric_devices, gpu_resource
from disagg_operator.plan.model import CheckPlan, Mount, PodPlan, Provenance
from disagg_operator.plan.platform import Platform
from disagg_operator.plan.programs.source import script
from disagg_operator.plan.verification import promised_transports

_PROGRAM = "check_worker.py"
_EFA_SDK = "/opt/amazon/efa"
_PLUGIN_FOLDER = "NIXL_PLUGIN_DIR"
_WHY = Provenance(
    "An engine that lacks a device, pinned memory or a plugin fails late and says little.",
    "https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html",
)


def check_plan(basis: Basis, pod: PodPlan, facts: Facts, gpus: int) -> CheckPlan | None:
    """Return the check of a role's pods, or None where nothing is verified.

    Args:
        basis: what the deployment's pods have in common.
        pod: a pod of the role.
        facts: facts of the role.
        gpus: GPUs of the pod.
    """
    if not basis.measured:
        return None
    asked = dict(_asked(basis, pod, facts, gpus))
    if not asked:
        return None
    command = ("python3", f"{CONFIG_FOLDER}/{_PROGRAM}", json.dumps(asked))
    return CheckPlan(command, {_PROGRAM: script(_PROGRAM)}, asked, _WHY)


def _asked(basis: Basis, pod: PodPlan, facts: Facts, gpus: int) -> Iterator[tuple[str, Any]]:
    counted = not _own_resources(pod)
    if counted and (devices := _fabric_devices(basis.platform, pod)):
        yield "fabricDevices", devices
    elif not gpus and _rdma_alone(basis, pod):
        yield "rdmaDevice", True
    if pod.security.mode != "Restricted":
        yield "lockedMemory", True
    if size := _shared_memory(pod):
        yield "sharedMemory", size
    if counted and gpus:
        yield "gpus", gpus
    if pod.claims:
        yield "imexChannel", True
    if any(mount.path == _EFA_SDK for mount in pod.mounts):
        yield "efaSdk", _EFA_SDK
    least = [found.value for fabric in basis.platform.fabrics if (found := first(fabric.libfabric, facts))]
    if least:
        yield "libfabric", least[-1]
    if basis.transfer.nixl_backend is not None:
        yield _nixl(basis, pod, basis.transfer.nixl_backend)


def _fabric_devices(platform: Platform, pod: PodPlan) -> int:
    """Return how many there must be: one at least where a slot stands for all adapters of a node."""
    slots = [device for device in pod.devices if device.name != gpu_resource(platform.machine)]
    return max(fabric_devices(platform, pod.devices), 1) if slots else 0


def _rdma_alone(basis: Basis, pod: PodPlan) -> bool:
    """Tell whether KV cache of pods without GPUs has RDMA to take and nothing else."""
    if RDMA.isdisjoint(each.transport for each in promised_transports(basis)):
        return False
    variables = {each.name: each.value for each in pod.environment}
    if basis.transfer.nixl_backend == "LIBFABRIC":
        return variables.get("FI_PROVIDER") == "efa"
    return not may_take(variables.get(UCX_TLS) or "all", Transport.UCX_TCP)


def _nixl(basis: Basis, pod: PodPlan, backend: str) -> tuple[str, str]:
    """Return how to try NIXL: TensorRT-LLM brings its own where its plugins are asked for."""
    folder = next((each.value for each in pod.environment if each.name == _PLUGIN_FOLDER), None)
    if folder and basis.spec.runtime.engine is Engine.TRTLLM:
        return "nixlPlugin", f"{folder.rstrip('/')}/libplugin_{backend}.so"
    return "nixlBackend", backend


def _shared_memory(pod: PodPlan) -> int:
    """Return the bytes of /dev/shm; 0 where the user mounts another.

    The kubelet makes it no larger than the pod's memory.
    """
    mount = next((each for each in pod.mounts if each.path == SHARED_MEMORY), None)
    if mount is None or mount.name in _own_volumes(pod):
        return 0
    bounds = (_size_limit(mount), pod.resources.get("limits", {}).get("memory"))
    sizes = [int(number) for bound in bounds if (number := quantity(bound)) is not None]
    return min(sizes, default=0)


def _size_limit(mount: Mount) -> Any:
    volume = mount.volume.get("emptyDir")
    return volume.get("sizeLimit") if isinstance(volume, Mapping) else None


def _own_volumes(pod: PodPlan) -> Iterable[str]:
    return {each.get("name", "") for each in _own(pod, "volumes")}


def _own_resources(pod: PodPlan) -> bool:
    """Tell whether the user says what the engine's container is given."""
    return any("resources" in each for each in _own(pod, "containers"))


def _own(pod: PodPlan, key: str) -> Iterator[Mapping[str, Any]]:
    spec = pod.overrides.get("spec")
    written = spec.get(key) if isinstance(spec, Mapping) else None
    yield from (each for each in written or () if isinstance(each, Mapping))
