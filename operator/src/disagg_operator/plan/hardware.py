"""What machine, fabrics and runtime add to the workers of one role: profiles laid over each other.

Order: the runtime's release, then the fabrics, then the machine; a later layer wins by name. What the user
writes wins over all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from disagg_operator.api.v1alpha1.placement import PlacementSpec
from disagg_operator.plan import names
from disagg_operator.plan.environment import derived, fill, layered
from disagg_operator.plan.facts import Facts, applicable, first, provenance
from disagg_operator.plan.model import (
    ApartPlan,
    DeviceCount,
    EnvSetting,
    Mount,
    Provenance,
    Setting,
    TogetherPlan,
    TolerationSetting,
)
from disagg_operator.plan.platform import Platform
from disagg_operator.platforms.profile import (
    Device,
    Gpus,
    HugePages,
    Layer,
    MachineProfile,
)
from disagg_operator.platforms.vocabulary import SEVERAL

ARCHITECTURE_LABEL = "kubernetes.io/arch"
_GPU_RESOURCE = "nvidia.com/gpu"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a path inside the container
_PLACEMENT = "spec.placement.topologyKey"
_SPREADING = (
    "https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/"
    "#internal-default-constraints"
)


@dataclass(frozen=True)
class Hardware:
    """What the platform gives to the workers of one role."""

    environment: tuple[EnvSetting, ...]
    devices: tuple[DeviceCount, ...]
    huge_pages: tuple[HugePages, ...]
    mounts: tuple[Mount, ...]
    annotations: tuple[Setting, ...]
    node_labels: tuple[Setting, ...]
    tolerations: tuple[TolerationSetting, ...]
    together: TogetherPlan | None
    apart: ApartPlan | None
    joined: TogetherPlan | None
    grouped: TogetherPlan | None
    packed: TogetherPlan | None


def hardware(
    platform: Platform,
    facts: Facts,
    *,
    gpus: int,
    other_role: str,
    devices: Mapping[str, int],
    placement: PlacementSpec,
) -> Hardware:
    """Return what the platform gives to the workers of a role.

    Args:
        platform: the profiles.
        facts: facts of the role.
        gpus: GPUs of each pod.
        other_role: the role whose workers may have to be on other nodes.
        devices: counts that the user writes, by resource; 0 removes one.
        placement: where the user lets pods run.
    """
    layers = platform.layers
    counts = _devices(platform, facts, gpus, devices)
    values = {**facts, "devices": {device.name: device.count for device in counts}}
    return Hardware(
        environment=layered(*(derived(applicable(layer.environment, facts), facts) for layer in layers)),
        devices=counts,
        huge_pages=tuple(each for layer in layers for each in applicable(layer.huge_pages, facts)),
        mounts=(*_host_mounts(layers, facts), *_shared_memory(platform.machine, facts)),
        annotations=_named(
            Setting(each.name, text, provenance(each))
            for layer in layers
            for each in applicable(layer.annotations, facts)
            if (text := fill(each.value, values))
        ),
        node_labels=_named(
            Setting(each.name, each.value, provenance(each))
            for layer in layers
            for each in applicable(layer.node_labels, facts)
        ),
        tolerations=tuple(_tolerations(layers, facts)),
        together=_together(platform, facts, placement),
        apart=_apart(platform, facts, other_role),
        joined=_joined(platform, facts),
        grouped=_grouped(facts, placement),
        packed=_packed(platform.machine, gpus),
    )


def gpu_resource(machine: MachineProfile) -> str:
    """Return the extended resource by which pods ask for a machine's GPUs."""
    return machine.gpus.resource if machine.gpus else _GPU_RESOURCE


def fabric_devices(platform: Platform, devices: Iterable[DeviceCount]) -> int:
    """Return the fabric devices of a pod, without those that stand for all adapters of a node.

    Args:
        platform: the profiles.
        devices: what the pod asks for.
    """
    profiled = {device.name: device for layer in platform.layers for device in layer.devices}
    return sum(
        device.count
        for device in devices
        if device.name != gpu_resource(platform.machine)
        and (device.name not in profiled or profiled[device.name].per_pod is None)
    )


def frontend_placement(
    machine: MachineProfile, facts: Facts
) -> tuple[tuple[Setting, ...], tuple[TolerationSetting, ...]]:
    """Return the labels and tolerations of a frontend, whose image is of the workers' architecture.

    Where all nodes of that architecture are the machine's own, it must share them: it tolerates their taints.

    Args:
        machine: the profile.
        facts: facts of the pod.
    """
    labels = tuple(
        Setting(each.name, each.value, provenance(each))
        for each in applicable(machine.node_labels, facts)
        if each.name == ARCHITECTURE_LABEL
    )
    return labels, tuple(_tolerations([machine], facts)) if labels else ()


def huge_pages(offered: Iterable[HugePages], environment: Iterable[EnvSetting]) -> tuple[Setting, ...]:
    """Return the huge pages that workers with this environment need.

    Args:
        offered: what the platform would give.
        environment: the workers' variables, the user's among them.
    """
    values = {setting.name: setting.value for setting in environment}
    return _named(
        Setting(each.name, each.quantity, provenance(each))
        for each in offered
        if all(values.get(name) in allowed for name, allowed in each.variables.items())
    )


def _devices(
    platform: Platform, facts: Facts, gpus: int, written: Mapping[str, int]
) -> tuple[DeviceCount, ...]:
    found: dict[str, DeviceCount] = {}
    if gpus:
        name = gpu_resource(platform.machine)
        reason = Provenance("One GPU for each rank of the pod.", "spec.*.gpusPerNode, spec.*.parallelism")
        found[name] = DeviceCount(name, gpus, reason)
    for layer in platform.layers:
        for device in applicable(layer.devices, facts):
            count = device_count(device, platform.machine.gpus, gpus)
            guess = device.per_gpu is not None and platform.machine.gpus is not None
            why = replace(provenance(device), guess=guess)
            found[device.name] = DeviceCount(device.name, count, why)
    for name, count in written.items():
        found[name] = DeviceCount(
            name, count, Provenance("Set by the user.", f"spec.{facts['role']}.devices")
        )
    return tuple(device for device in found.values() if device.count)


def device_count(device: Device, node: Gpus | None, gpus: int) -> int:
    """Return how many of a device a pod gets.

    Args:
        device: the profile's entry.
        node: GPUs of a node.
        gpus: GPUs of the pod; a pod without any gets none of the devices that go with GPUs.
    """
    if device.per_pod is not None:
        return device.per_pod
    if device.per_gpu is not None:
        return device.per_gpu * gpus
    whole = device.per_node or 0
    if node is None or gpus >= node.count:
        return whole if gpus else 0
    return max(1, whole * gpus // node.count) if gpus else 0


def _host_mounts(layers: Iterable[Layer], facts: Facts) -> Iterable[Mount]:
    found = {
        each.name: Mount(
            each.name,
            each.path,
            {"hostPath": {"path": each.host_path}},
            read_only=each.read_only,
            provenance=provenance(each),
        )
        for layer in layers
        for each in applicable(layer.mounts, facts)
    }
    return found.values()


def _shared_memory(machine: MachineProfile, facts: Facts) -> tuple[Mount, ...]:
    size = first(machine.shared_memory, facts)
    if size is None:
        return ()
    volume = {"emptyDir": {"medium": "Memory", "sizeLimit": size.size}}
    return (Mount("shared-memory", SHARED_MEMORY, volume, provenance=provenance(size)),)


def _named(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    return tuple({setting.name: setting for setting in settings}.values())


def _tolerations(layers: Iterable[Layer], facts: Facts) -> Iterable[TolerationSetting]:
    for layer in layers:
        for each in applicable(layer.tolerations, facts):
            match = (
                {"operator": "Exists"} if each.value is None else {"operator": "Equal", "value": each.value}
            )
            yield TolerationSetting({"key": each.name, **match, "effect": each.effect}, provenance(each))


def _together(platform: Platform, facts: Facts, placement: PlacementSpec) -> TogetherPlan | None:
    if placement.topology_key is not None:
        written = Provenance("Set by the user.", _PLACEMENT)
        return TogetherPlan(placement.topology_key, placement.required, written)
    # The narrowest domain comes first: machines in one NVLink domain share a zone as well.
    for fabric in sorted(platform.fabrics, key=lambda fabric: fabric.domain is None):
        found = first(fabric.together, facts)
        if found is not None:
            return TogetherPlan(found.topology_key, found.required and placement.required, provenance(found))
    return None


def _joined(platform: Platform, facts: Facts) -> TogetherPlan | None:
    """Keep the pods of an instance in one NVLink domain where the workers may be in several."""
    if (facts["racks"], facts["nodes"]) != (SEVERAL, SEVERAL):
        return None
    domain = next(fabric.domain for fabric in platform.fabrics if fabric.domain is not None)
    reason = "The pods of a model instance are in one rack, whose NVLink their collectives cross."
    why = Provenance(reason, domain.source, domain.line)
    return TogetherPlan(domain.clique_label, required=True, provenance=why)


def _grouped(facts: Facts, placement: PlacementSpec) -> TogetherPlan | None:
    if placement.group is None or facts["nodes"] != SEVERAL:
        return None
    written = Provenance("Set by the user.", "spec.placement.group.topologyKey")
    return TogetherPlan(placement.group.topology_key, placement.group.required, written)


def _packed(machine: MachineProfile, gpus: int) -> TogetherPlan | None:
    """Fill a node with workers of a role before the next one, unless each is known to take a whole node."""
    if not gpus or (machine.gpus is not None and gpus >= machine.gpus.count):
        return None
    reason = "Spread out, workers that take a part of a node leave none to those that need a whole one."
    return TogetherPlan(names.LABEL_NODE, required=False, provenance=Provenance(reason, _SPREADING))


def _apart(platform: Platform, facts: Facts, other_role: str) -> ApartPlan | None:
    kv_fabric = platform.fabrics[0]
    if kv_fabric.apart is None or not applicable([kv_fabric.apart], facts):
        return None
    return ApartPlan(other_role, provenance(kv_fabric.apart))
