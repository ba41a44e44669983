"""Machines in a table: for docs/platforms.md and for terminals."""

from collections.abc import Iterable

from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.profile import Device, MachineProfile

START = "<!-- machines: written by `python -m disagg_operator.platforms` -->"
END = "<!-- end of machines -->"


HEADINGS = ("platform", "GPUs a node", "architecture", "fabrics, KV cache on the first", "devices")

Row = tuple[str, str, str, str, list[str]]


def table() -> str:
    """Return all machines as a Markdown table."""
    rows = [_cells(machine) for machine in builtin().machines.values()]
    lines = [f"| {' | '.join(row)} |" for row in (HEADINGS, ("---",) * len(HEADINGS), *rows)]
    return "\n".join([*lines, ""])


def _cells(machine: MachineProfile) -> tuple[str, ...]:
    name, gpus, architecture, fabrics, devices = row(machine)
    return f"`{name}`", gpus, architecture, fabrics, "<br>".join(devices)


def row(machine: MachineProfile) -> Row:
    """Return name, GPUs, architecture, fabrics and devices of a machine in words."""
    gpus = f"{machine.gpus.count} {machine.gpus.model}" if machine.gpus else "any"
    architecture = machine.architecture.value if machine.architecture else "any"
    devices = devices_in_words(machine.devices) or ["none"]
    return machine.name, gpus, architecture, ", ".join(machine.fabrics), devices


def devices_in_words(devices: Iterable[Device]) -> list[str]:
    """Return devices with their counts, those of one network as one."""
    words: dict[str, None] = {}
    for device in devices:
        if device.name.endswith(".IP"):
            continue
        stem, _, number = device.name.rpartition("-")
        name = f"{stem}-N" if number.isdigit() and device.per_pod else device.name
        words[f"{name}: {_count(device)}"] = None
    return list(words)


def _count(device: Device) -> str:
    if device.per_node is not None:
        return f"{device.per_node} a node"
    return f"{device.per_gpu} a GPU" if device.per_gpu is not None else f"{device.per_pod} a pod"
