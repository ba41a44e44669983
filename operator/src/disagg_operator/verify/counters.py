"""What counters moved between three looks at a pod: at the start, before the canary and after it.

Between the first two nothing of ours runs: that is the background, and its rate is taken off.

Invariants: a counter counts only where all three looks show it and it never went backwards; what is left out
is said. So a reset can only take evidence away, never add any. Nothing is negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from disagg_operator.verify.evidence import Device, Evidence


class Source(StrEnum):
    """What counts bytes, as it is called in sentences."""

    EFA = "EFA devices"
    RDMA = "RDMA devices"
    NVLINK = "NVLink"
    INTERFACE = "network interfaces"
    NIXL = "NIXL's telemetry"
    ENGINE = "the engine"


class Meter(NamedTuple):
    """A device, an interface, or an account, of which counters belong together."""

    source: Source
    name: str


@dataclass(frozen=True)
class Flow:
    """Bytes that a meter moved because of the canary: the background is taken off.

    Attributes:
        sent, received: what is left.
        all_sent, all_received: with the background.
    """

    sent: float = 0.0
    received: float = 0.0
    all_sent: float = 0.0
    all_received: float = 0.0


@dataclass(frozen=True)
class Moved:
    """What a pod's meters moved.

    Attributes:
        flows: by meter; a meter that does not count is not there.
        remarks: a sentence for each meter that was left out.
    """

    flows: Mapping[Meter, Flow]
    remarks: tuple[str, ...] = ()


# Names of the kernel's counters (drivers/infiniband/hw/efa/efa_verbs.c). Sources do not say whether the
# totals include what RDMA moved, so the larger of the total and the sum of the parts is taken: nothing counts
# twice.
_SENT = ("rdma_read_resp_bytes", "rdma_write_bytes", "send_bytes")
_RECEIVED = ("rdma_read_bytes", "rdma_write_recv_bytes", "recv_bytes")
_BYTES = {"tx_bytes", "rx_bytes", *_SENT, *_RECEIVED}
_LOOPBACK = "lo"

_Raw = Mapping[str, int]


def moved(first: Evidence, before: Evidence, after: Evidence, scale: float) -> Moved:
    """Return what a pod moved between the second and the third look.

    Args:
        first: at the start of the quiet time.
        before: at its end, before the canary.
        after: after the canary.
        scale: duration of the canary in durations of the quiet time.
    """
    looks = [_meters(evidence) for evidence in (first, before, after)]
    flows: dict[Meter, Flow] = {}
    remarks: list[str] = []
    for meter in dict.fromkeys(meter for look in looks for meter in look):
        seen = [look[meter] for look in looks if meter in look]
        if len(seen) < len(looks):
            remarks.append(f"{meter.name} {'vanished' if meter not in looks[-1] else 'appeared'} meanwhile")
            continue
        fault = _backwards(seen)
        if fault is not None:
            remarks.append(f"{meter.name}: {fault} went backwards")
            continue
        flows[meter] = _flow(seen, scale)
    return Moved(flows, tuple(remarks))


def _backwards(looks: list[_Raw]) -> str | None:
    for earlier, later in pairwise(looks):
        for name, value in earlier.items():
            if later.get(name, 0) < value:
                return name
    return None


def _flow(looks: list[_Raw], scale: float) -> Flow:
    first, before, after = looks

    def by(name: str, scale: float) -> float:
        if not all(name in look for look in looks):
            return 0.0
        quiet, busy = before[name] - first[name], after[name] - before[name]
        return max(0.0, busy - quiet * scale)

    def sent(scale: float) -> float:
        return max(by("tx_bytes", scale), sum(by(name, scale) for name in _SENT))

    def received(scale: float) -> float:
        return max(by("rx_bytes", scale), sum(by(name, scale) for name in _RECEIVED))

    scale = max(scale, 0.0)
    return Flow(sent(scale), received(scale), sent(0.0), received(0.0))


def _meters(evidence: Evidence) -> dict[Meter, _Raw]:
    found: dict[Meter, _Raw] = {}
    for device in evidence.devices:
        # sysfs shows the node's devices: what another pod's device moves is no evidence here. One whose
        # counters the pod cannot see must not pass for idle.
        if device.given is not False and device.counters.keys() & _BYTES:
            found[_of_device(device)] = device.counters
    for interface in evidence.interfaces:
        if interface.name != _LOOPBACK:
            counters = {"tx_bytes": interface.tx_bytes, "rx_bytes": interface.rx_bytes}
            found[Meter(Source.INTERFACE, interface.name)] = counters
    if evidence.nvlink.available:
        for link in evidence.nvlink.links:
            counters = {"tx_bytes": link.tx_bytes, "rx_bytes": link.rx_bytes}
            found[Meter(Source.NVLINK, f"NVLink {link.link} of GPU {link.gpu}")] = counters
    if evidence.nixl.available:
        counters = {"tx_bytes": evidence.nixl.tx_bytes, "rx_bytes": evidence.nixl.rx_bytes}
        found[Meter(Source.NIXL, "NIXL's telemetry")] = counters
    found.update(_of_engine(evidence))
    return found


def _of_device(device: Device) -> Meter:
    source = Source.EFA if device.kind == "efa" else Source.RDMA
    return Meter(source, device.name if device.port == 1 else f"{device.name}:{device.port}")


def _of_engine(evidence: Evidence) -> dict[Meter, _Raw]:
    """One meter with a counter for each transport: an engine shows one only once it has been used."""
    if evidence.engine is None:
        return {}
    counters = {"tx_bytes": evidence.engine.kv_served_bytes, "rx_bytes": 0}
    for read in evidence.engine.kv_read:
        counters["rx_bytes"] += read.bytes
    return {Meter(Source.ENGINE, "the engine"): counters}


def received(evidence: Evidence, source: Source) -> int:
    """Return the bytes that a pod has received so far, by what counts them."""
    return sum(
        max(raw.get("rx_bytes", 0), sum(raw.get(name, 0) for name in _RECEIVED))
        for meter, raw in _meters(evidence).items()
        if meter.source is source
    )


def read_since(before: Evidence, after: Evidence) -> dict[str, int]:
    """Return the bytes that an engine says to have read, by transport as it names it (``tcp/eth0``)."""

    def account(evidence: Evidence) -> dict[str, int]:
        totals: dict[str, int] = {}
        for read in evidence.engine.kv_read if evidence.engine else ():
            totals[read.transport] = totals.get(read.transport, 0) + read.bytes
        return totals

    earlier = account(before)
    more = {lanes: total - earlier.get(lanes, 0) for lanes, total in account(after).items()}
    return {lanes: count for lanes, count in more.items() if count > 0}
