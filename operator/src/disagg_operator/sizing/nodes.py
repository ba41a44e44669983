"""How many whole nodes instances take, which is what a cluster is bought in. Pure.

An instance of a node or more has its nodes alone. Smaller ones share, the largest placed first, where a node
has GPUs and fabric devices enough for them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from disagg_operator.plan.hardware import device_count
from disagg_operator.platforms.profile import Device, FabricProfile, Gpus, MachineProfile

_GPU = ""
"""Key of the GPUs among what a node has: no resource has this name."""
_MOST = 10**6
"""Instances that share a node, at most."""


@dataclass(frozen=True)
class Sharing:
    """What decides which instances may share a node.

    Attributes:
        gpus: of a node, as the profile says.
        devices: that instances ask for besides.
        apart: whether no node may have both prefill and decode.
    """

    gpus: Gpus | None = None
    devices: tuple[Device, ...] = ()
    apart: bool = False

    def nodes(self, roles: Iterable[tuple[int, int]], per_node: int) -> int:
        """Return the nodes that the instances of both roles take.

        Args:
            roles: GPUs of an instance, and how many there are, of each role.
            per_node: GPUs of a node.
        """
        groups = [[role] for role in roles] if self.apart else [list(roles)]
        return sum(self._taken(group, per_node) for group in groups)

    def _taken(self, instances: list[tuple[int, int]], per_node: int) -> int:
        has = {each.name: each.per_node or each.on_node or 0 for each in self.devices} | {_GPU: per_node}
        nodes, free = 0, list[dict[str, int]]()
        for gpus, replicas in sorted(instances, reverse=True):
            if gpus >= per_node:
                nodes += replicas * math.ceil(gpus / per_node)
                continue
            asks = {each.name: device_count(each, self.gpus, gpus) for each in self.devices} | {_GPU: gpus}
            left = replicas
            for room in free:
                left -= _place(left, asks, room)
            while left:
                free.append(dict(has))
                left -= max(1, _place(left, asks, free[-1]))
        return nodes + len(free)


def sharing(machine: MachineProfile, fabrics: Sequence[FabricProfile]) -> Sharing:
    """Return what decides on a platform which instances may share a node.

    Args:
        machine: the platform.
        fabrics: its fabrics; KV cache crosses the first.
    """
    layers = (machine, *fabrics)
    counted = (device for layer in layers for device in layer.devices if device.per_node or device.on_node)
    return Sharing(machine.gpus, tuple(counted), fabrics[0].apart is not None)


def _place(most: int, asks: Mapping[str, int], room: dict[str, int]) -> int:
    """Place as many instances as there is room for; return how many these are."""
    fit = min([most, _MOST, *(room[name] // count for name, count in asks.items() if count)])
    for name, count in asks.items():
        room[name] -= fit * count
    return fit
