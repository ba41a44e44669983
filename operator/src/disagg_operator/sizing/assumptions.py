"""What an estimate takes for given: values with a range and a source, each of which can be replaced.

Invariants: no number of GPUs, fabrics or efficiencies is in code, all are in ``data/``; an assumption that a
user replaces says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property
from importlib import resources
from typing import Any

import yaml

from disagg_operator.platforms.profile import FabricProfile, MachineProfile
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.model import ModelShape

FABRIC, TCP, NODES = "fabric_rate", "tcp_rate", "node_link"
_PER_NODE = "gpus_per_node"
BY_USER = "--assume"
_GIGA, _TERA, _MICRO = 1e9, 1e12, 1e-6
_SIZES = {"GB": _GIGA, "GB/s": _GIGA, "TFLOP/s": _TERA, "µs": _MICRO}
_LEAST, _MOST = 1e-6, 1e9
"""Between which a value may be, in its unit."""
_WHOLE = ("", "tokens")
"""Units of counts."""
_GPUS_SOURCE = "NVIDIA's datasheets, as in aiconfigurator 0.12.0"


@dataclass(frozen=True)
class Assumption:
    """A number that is no arithmetic.

    Attributes:
        name: what ``--assume`` calls it.
        value: the number, in its unit.
        low, high: the range that it may well be in.
        unit: of all three; empty for a count.
        reason: what it is.
        source: who says so.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    reason: str
    source: str

    @cached_property
    def si(self) -> float:
        """The value in bytes, seconds, FLOP a second, or as it is."""
        return self.value * _SIZES.get(self.unit.split(" a ")[0], 1.0)


@dataclass(frozen=True)
class Assumptions:
    """All assumptions of an estimate, by name."""

    by_name: Mapping[str, Assumption]

    def __getitem__(self, name: str) -> float:
        """Return a value in bytes, seconds, FLOP a second, or as it is."""
        return self.by_name[name].si

    def __iter__(self) -> Iterator[Assumption]:
        return iter(self.by_name.values())

    def at(self, name: str, value: float) -> "Assumptions":
        """Return the same assumptions but for one value, in its unit."""
        return Assumptions({**self.by_name, name: replace(self.by_name[name], value=value)})

    def replaced(self, given: Iterable[str]) -> "Assumptions":
        """Return the assumptions with those that a user gives as ``NAME=VALUE``, in their units.

        Raises:
            SizingError: there is no such assumption, or the value is no number above 0.
        """
        found = dict(self.by_name)
        for text in given:
            name, _, written = text.partition("=")
            if name not in found:
                close = get_close_matches(name, found)
                meant = f"Did you mean {close[0]}?" if close else f"Write one of: {', '.join(found)}"
                raise SizingError(f"--assume {text}: there is no assumption {name!r}. {meant}")
            value, fault = _number(written), _fault(written, found[name])
            if value is None or fault:
                unit = f" in {found[name].unit}" if found[name].unit else ""
                raise SizingError(
                    f"--assume {text}: {fault}. Write {name}={found[name].value:g}{unit}, for example"
                )
            found[name] = replace(found[name], value=value, low=value, high=value, source=BY_USER)
        return Assumptions(found)


def assumed(
    machine: MachineProfile,
    fabric: FabricProfile,
    backend: str,
    shape: ModelShape,
    *,
    gpu: str = "",
    per_node: int = 0,
) -> Assumptions:
    """Return what is assumed of a platform.

    Args:
        machine: the platform.
        fabric: what KV cache crosses.
        backend: NIXL plugin that drives it.
        shape: the model.
        gpu: GPU where it shall not be the platform's.
        per_node: GPUs of a node where they shall not be the platform's.

    Raises:
        SizingError: GPU or fabric are not known.
    """
    gpu = gpu or (machine.gpus.model if machine.gpus else "")
    count = per_node or (machine.gpus.count if machine.gpus else 0)
    known = _data("gpus")
    if gpu not in known:
        what = f"platform {machine.name} does not say its GPUs" if not gpu else f"{gpu!r} is not known"
        raise SizingError(f"--gpu: {what}. Write one of: {', '.join(known)}")
    if count < 1:
        raise SizingError(
            f"--gpus-per-node: platform {machine.name} does not say how many GPUs a node has. Write "
            "--gpus-per-node 8, "
            "for example"
        )
    rates = _data("fabrics")["rates"]
    by_backend = rates.get(fabric.name) or rates.get(fabric.kind)
    if by_backend is None or backend not in by_backend:
        backends = f" Write --nixl-backend {' or '.join(by_backend)}" if by_backend else ""
        raise SizingError(f"--nixl-backend: no rate of {backend} over {fabric.name} is known.{backends}")
    line = _data("fabrics")["lines"].get(machine.name, float("inf"))
    between = _data("fabrics")["collectives"]
    kind = "experts" if shape.experts else "dense"
    general = {
        name: Assumption(name=name, **values.get(kind, values))
        for name, values in _data("assumptions").items()
    }
    return Assumptions(
        {each.name: each for each in _of_gpu(gpu, known[gpu], shape.computed_in)}
        | {
            _PER_NODE: Assumption(
                _PER_NODE,
                *(count, count, count, "", "GPUs of a node"),
                source="--gpus-per-node" if per_node else f"profile of platform {machine.name}",
            ),
            FABRIC: _rate(FABRIC, by_backend[backend], "GB/s a GPU", line),
            TCP: _rate(TCP, rates["tcp"]["UCX"], "GB/s a pod", line),
            NODES: _rate(NODES, between.get(fabric.kind, between["other"]), "GB/s a GPU", line),
        }
        | general
    )


def gpu_of(machine: MachineProfile, gpu: str = "") -> str:
    """Return the name by which aiconfigurator knows a platform's GPU, or nothing."""
    known = _data("gpus").get(gpu or (machine.gpus.model if machine.gpus else ""), {})
    return str(known.get("system", ""))


def gpu_memory(machine: MachineProfile) -> float:
    """Return the bytes of memory of each of a platform's GPUs; 0 where they are not known."""
    return float(_data("gpus").get(machine.gpus.model if machine.gpus else "", {}).get("memory", 0)) * _GIGA


def models() -> Mapping[str, Any]:
    """Return the models whose shape is known, by name: ``source``, ``config``, and ``gated`` where it is."""
    return _data("models")


def _of_gpu(gpu: str, known: Mapping[str, Any], computed_in: str) -> Iterator[Assumption]:
    able = next(
        each for each in (computed_in, "fp8", "bf16") if each in known and _no_wider(each, computed_in)
    )

    def fixed(name: str, value: float, unit: str, reason: str) -> Assumption:
        return Assumption(name, value, value, value, unit, reason, _GPUS_SOURCE)

    yield fixed("gpu_memory", known["memory"], "GB", f"memory of the {gpu}")
    yield fixed("gpu_bandwidth", known["bandwidth"], "GB/s", f"peak memory bandwidth of the {gpu}")
    yield fixed("gpu_flops", known[able], "TFLOP/s", f"peak dense {able.upper()} rate of the {gpu}")
    yield fixed("gpu_link", known["link"], "GB/s a GPU", "link between the GPUs of a node, one direction")


def _no_wider(each: str, asked: str) -> bool:
    """Return whether products asked for in one type may be computed in another: in a wider one only."""
    order = ("fp4", "fp8", "bf16")
    return order.index(each) >= order.index(asked)


def _rate(name: str, values: Mapping[str, Any], unit: str, line: float) -> Assumption:
    found = Assumption(name=name, unit=unit, **values)
    return replace(found, value=min(found.value, line), low=min(found.low, line), high=min(found.high, line))


def _fault(text: str, assumption: Assumption) -> str:
    """Return what is wrong with a value, or nothing."""
    value = _number(text)
    if value is None:
        return "no number above 0"
    if assumption.unit.startswith("of ") and value > 1:
        return "a part of the whole is at most 1"
    if assumption.unit in _WHOLE and not value.is_integer():
        return "no whole number"
    return ""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if _LEAST <= value <= _MOST else None


@cache
def _data(name: str) -> dict[str, Any]:
    file = resources.files("disagg_operator.sizing") / "data" / f"{name}.yaml"
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found
