"""What moved from prefill to decode, by what counted it.

KV cache leaves prefill pods and arrives at decode pods. What pods of one role send each other (as tensor
parallelism does) is counted at both ends within the role, so it is gone from the role's *net* flow; what only
one end shows (a download) is never enough, as both ends are asked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from disagg_operator.verify import counters
from disagg_operator.verify.counters import Flow, Moved, Source
from disagg_operator.verify.evidence import Evidence

PREFILL, DECODE = "prefill", "decode"
FABRICS = (Source.EFA, Source.RDMA, Source.NVLINK, Source.INTERFACE)
"""What counts bytes of one way of moving them, and not the bytes of an account."""
_IDLE_SHARE = 0.01

Looks = Mapping[str, Evidence]
"""Evidence of one moment by name of the pod."""


@dataclass(frozen=True)
class Window:
    """Three looks at all workers.

    Attributes:
        roles: role (``prefill`` or ``decode``) by name of the pod.
        first: at the start of a quiet time.
        before: at its end.
        after: after the canary, or after a while in which users may have sent requests.
        quiet_seconds: between the first and the second look.
        seconds: between the second and the third.
    """

    roles: Mapping[str, str]
    first: Looks
    before: Looks
    after: Looks
    quiet_seconds: float
    seconds: float

    def pods(self, role: str) -> list[str]:
        """Return the pods of a role that all three looks show, by name."""
        seen = self.first.keys() & self.before.keys() & self.after.keys()
        return sorted(pod for pod in seen if self.roles.get(pod) == role)

    def missing(self) -> list[str]:
        """Return the pods that a look does not show, by name."""
        seen = self.first.keys() & self.before.keys() & self.after.keys()
        return sorted(self.roles.keys() - seen)

    @property
    def scale(self) -> float:
        """Duration of the canary in durations of the quiet time."""
        return self.seconds / self.quiet_seconds if self.quiet_seconds > 0 and self.seconds > 0 else 0.0


@dataclass(frozen=True)
class End:
    """What a role moved over one source.

    Attributes:
        there: whether anything counts there at all.
        sent: bytes sent by its pods.
        received: bytes received by its pods.
        all_sent, all_received: with what is taken off as background.
    """

    there: bool = False
    sent: float = 0.0
    received: float = 0.0
    all_sent: float = 0.0
    all_received: float = 0.0


@dataclass(frozen=True)
class Path:
    """What moved from prefill to decode by one source.

    Attributes:
        source: what counted it.
        prefill: the end that KV cache leaves.
        decode: the end at which it arrives.
    """

    source: Source
    prefill: End
    decode: End

    @property
    def there(self) -> bool:
        """Whether both ends count."""
        return self.prefill.there and self.decode.there

    @property
    def sent(self) -> float:
        """Bytes that prefill sent."""
        return self.prefill.sent

    @property
    def received(self) -> float:
        """Bytes that decode received."""
        return self.decode.received

    @property
    def both(self) -> float:
        """Bytes that both ends show."""
        return min(self.sent, self.received)

    @property
    def net_sent(self) -> float:
        """Bytes that prefill sent, without what its pods sent each other."""
        return max(0.0, self.prefill.sent - self.prefill.received)

    @property
    def net_received(self) -> float:
        """Bytes that decode received, without what its pods sent each other."""
        return max(0.0, self.decode.received - self.decode.sent)


@dataclass(frozen=True)
class Devices:
    """How many fabric devices of a pod took part.

    Attributes:
        role: role of the pod with the smallest share.
        used: devices that moved bytes.
        seen: devices that the pod has.
    """

    role: str
    used: int
    seen: int


@dataclass(frozen=True)
class Flows:
    """What all workers moved.

    Attributes:
        pods: by role and name of the pod.
        remarks: what was left out, and why.
    """

    pods: Mapping[str, Mapping[str, Moved]]
    remarks: tuple[str, ...] = ()
    paths: Mapping[Source, Path] = field(init=False)

    def __post_init__(self) -> None:
        paths = {
            source: Path(source, self._end(PREFILL, source), self._end(DECODE, source)) for source in Source
        }
        object.__setattr__(self, "paths", paths)

    def _end(self, role: str, source: Source) -> End:
        flows = [flow for moved in self.pods[role].values() for flow in _of(source, moved)]
        return End(
            bool(flows),
            sum(flow.sent for flow in flows),
            sum(flow.received for flow in flows),
            sum(flow.all_sent for flow in flows),
            sum(flow.all_received for flow in flows),
        )

    def devices(self, source: Source) -> Devices | None:
        """Return how many devices took part in that pod, of those that moved bytes, with the fewest."""
        worst: Devices | None = None
        for role, pods in self.pods.items():
            for moved in pods.values():
                counts = [flow.sent if role == PREFILL else flow.received for flow in _of(source, moved)]
                used = sum(1 for count in counts if count > _IDLE_SHARE * sum(counts))
                if used and (worst is None or used * worst.seen < worst.used * len(counts)):
                    worst = Devices(role, used, len(counts))
        return worst


def flows(window: Window) -> Flows:
    """Return what the workers moved because of the canary."""
    pods: dict[str, dict[str, Moved]] = {PREFILL: {}, DECODE: {}}
    remarks: list[str] = []
    for role in (PREFILL, DECODE):
        for pod in window.pods(role):
            first, before, after = window.first[pod], window.before[pod], window.after[pod]
            pods[role][pod] = found = counters.moved(first, before, after, window.scale)
            remarks += [f"{pod}: {remark}" for remark in found.remarks]
    remarks += [f"{pod}: its agent did not answer each time" for pod in window.missing()]
    return Flows(pods, tuple(remarks))


def _of(source: Source, moved: Moved) -> Iterable[Flow]:
    return (flow for meter, flow in moved.flows.items() if meter.source is source)
