"""Which transport carried KV cache, out of everything that counted or named one.

Order of belief: counters of both ends without what pods of one role send each other; counters of both ends;
and, where nothing counts (NVLink without NVML, InfiniBand whose counters a pod cannot see, memory of one
host), NIXL's account and UCX's tables together with the absence of the bytes from every network. A log
alone proves nothing. Where several fit, what the log names decides between them, and nothing does without it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.verify.canary import Canary
from disagg_operator.verify.counters import Source, read_since
from disagg_operator.verify.logs import LIBFABRIC, LogFindings, of_lanes
from disagg_operator.verify.paths import DECODE, FABRICS, Flows, Path, Window
from disagg_operator.verify.sentences import decimal_bytes
from disagg_operator.verify.verdict import Reason

_BY_COUNTER = {
    (Source.EFA, False): Transport.UCX_SRD,
    (Source.EFA, True): Transport.LIBFABRIC_EFA,
    (Source.INTERFACE, False): Transport.UCX_TCP,
    (Source.INTERFACE, True): Transport.LIBFABRIC_TCP,
    (Source.RDMA, False): Transport.UCX_RDMA,
    (Source.RDMA, True): Transport.UCX_RDMA,
    (Source.NVLINK, False): Transport.NVLINK,
    (Source.NVLINK, True): Transport.NVLINK,
}
_COUNTED_BY = {
    Transport.UCX_SRD: Source.EFA,
    Transport.LIBFABRIC_EFA: Source.EFA,
    Transport.UCX_TCP: Source.INTERFACE,
    Transport.LIBFABRIC_TCP: Source.INTERFACE,
    Transport.UCX_RDMA: Source.RDMA,
    Transport.NVLINK: Source.NVLINK,
}
_IDLE = 0.1
_PLUGINS = {"UCX", LIBFABRIC}


class Proof(StrEnum):
    """How a transport is known, the best first."""

    NET = "counters of both ends, without traffic within a role"
    GROSS = "counters of both ends"
    ACCOUNT = "the engine's own account"
    ELIMINATION = "NIXL's account and UCX's tables, while no network moved the bytes"


@dataclass(frozen=True)
class Need:
    """What both ends must show.

    Attributes:
        least: bytes.
        apart: the ends may differ by this factor; None where the bytes are known.
    """

    least: float
    apart: float | None = None

    def met(self, sent: float, received: float) -> bool:
        """Tell whether both ends show enough."""
        low, high = sorted((sent, received))
        return low >= self.least and (self.apart is None or high <= low * self.apart)

    def idle(self, *counts: float) -> bool:
        """Tell whether these are too few bytes to matter."""
        return all(count < self.least * _IDLE for count in counts)


@dataclass(frozen=True)
class Choice:
    """What carried KV cache, or why that cannot be told.

    Attributes:
        transport: what it was; NothingMoved or Unknown where nothing can be named.
        proof: how it is known; None where it is not.
        source: what counted it; None where nothing did.
        bytes: bytes that moved from prefill to decode.
        backend: NIXL plugin in use.
        backend_known: whether the plugin was seen, and is not only what was configured.
        contradictions: sentences about what does not fit.
        reason: where nothing can be named: stable word for programs.
        message: and the sentence.
    """

    transport: Transport
    proof: Proof | None = None
    source: Source | None = None
    bytes: float = 0.0
    backend: str = ""
    backend_known: bool = False
    contradictions: tuple[str, ...] = ()
    reason: Reason = "NotMeasured"
    message: str = ""


@dataclass(frozen=True)
class Chooser:
    """Weighs the witnesses of one window.

    Attributes:
        promise: names the plugin that was configured.
        window: the looks.
        flows: what moved.
        log: what all logs say together.
        need: what both ends must show.
        canary: our request that was answered within the window, if there was one.
    """

    promise: Promise
    window: Window
    flows: Flows
    log: LogFindings
    need: Need
    canary: Canary | None

    def choose(self) -> Choice:
        """Return what carried KV cache."""
        account = self.flows.paths[Source.ENGINE]
        if account.there and self.need.met(account.sent, account.received):
            lanes = self._lanes()
            transport = of_lanes(lanes)
            if transport.carries:
                return self._by_account(transport, account, loopback=all(_loops(lane) for lane in lanes))
        return self._by_counters()

    def _by_account(self, transport: Transport, account: Path, *, loopback: bool) -> Choice:
        source = _COUNTED_BY.get(transport)
        path = self.flows.paths[source] if source is not None else None
        says = f"The engine names {transport.spoken}"
        if path is not None and path.there and self.need.met(path.sent, path.received):
            return self._named(transport, Proof.NET, source, account.both)
        others = [other for other in self._proven() if other.source is not source]
        if others:
            chosen = self._counted(others[0], Proof.NET, account.both)
            return _with(chosen, f"{says}, but the bytes moved over {others[0].source}: they decide.")
        if path is None or not path.there or loopback:
            return self._named(transport, Proof.ACCOUNT, None, account.both)
        return self._unknown(
            "CountersContradictEngine", f"{says}, but {path.source} did not move the bytes that it counts."
        )

    def _by_counters(self) -> Choice:
        for proof, fitting in ((Proof.NET, self._proven()), (Proof.GROSS, self._possible())):
            named = [path for path in fitting if self._transport(path) is self.log.named]
            paths = named if len(fitting) > 1 and named else fitting
            if len(paths) > 1:
                names = " and ".join(path.source for path in paths)
                return self._unknown(
                    "Ambiguous",
                    f"Enough bytes moved over {names}, and no log tells which of them were KV cache. Set "
                    "UCX_PROTO_INFO=y and UCX_LOG_LEVEL=info on the workers.",
                )
            if paths:
                return self._checked(self._counted(paths[0], proof, paths[0].both))
        return self._eliminated() or self._nothing()

    def _checked(self, choice: Choice) -> Choice:
        """Add the contradiction, if the log names another transport than the counters show."""
        named = self.log.named
        # What an endpoint lists it could use, beside others: only tables name what it did use.
        listed = {of_lanes([lane]) for lane in self.log.other_lanes}
        possible = not self.log.carried.carries and choice.transport in listed
        if not named.carries or named is choice.transport or possible:
            return choice
        return _with(
            choice, f"The log names {named.spoken}, but {choice.source} moved the bytes: they decide."
        )

    def _eliminated(self) -> Choice | None:
        carried = self.log.carried
        source = _COUNTED_BY.get(carried)
        interface, nixl = self.flows.paths[Source.INTERFACE], self.flows.paths[Source.NIXL]
        done = max(nixl.sent, nixl.received)
        if (
            carried.carries
            and not (source is not None and self.flows.paths[source].there)
            and self.canary
            and interface.there
            and done >= self.need.least
            and self.need.idle(*self._ends(Source.EFA, Source.RDMA, Source.INTERFACE))
        ):
            return self._named(carried, Proof.ELIMINATION, None, done)
        return None

    def _nothing(self) -> Choice:
        """Say why nothing can be named."""
        seen = [path for path in self._fabrics() if path.there]
        if not seen:
            return self._unknown("NoCounters", f"No counters of both roles could be read. {self._remark()}")
        loud = [path for path in seen if max(path.sent, path.received) >= self.need.least]
        if self.flows.remarks:
            return self._unknown(
                "EvidenceIncomplete",
                f"What counted does not suffice, and some did not count: {self._remark()}",
            )
        if loud:
            path = loud[0]
            return self._unknown(
                "EndsDisagree",
                f"Over {path.source} prefill sent {decimal_bytes(path.sent)} and decode received "
                f"{decimal_bytes(path.received)}: one end alone proves nothing.",
            )
        hidden = self._hidden()
        if hidden is not None:
            return self._unknown(
                "OthersMoved",
                f"As much moved over {hidden.source} as the canary's KV cache takes, but others moved so "
                "much before it that it cannot be told from theirs. It is tried again; ask in a quieter "
                "moment.",
            )
        if not self.need.idle(*(count for path in seen for count in (path.sent, path.received))):
            return self._unknown("TooFewBytes", "Fewer bytes moved than the KV cache of the prompt takes.")
        return self._silence()

    def _hidden(self) -> Path | None:
        """Return what moved enough at both ends with the background: it was too much to be taken off.

        Who asks for little moves it in bursts. One in the quiet time counts as often as that time goes into
        the canary's.
        """
        account = self.flows.paths[Source.ENGINE]
        paths = [account] if account.there else [path for path in self._fabrics() if path.there]
        enough = (path for path in paths if self.need.met(path.prefill.all_sent, path.decode.all_received))
        return next(enough, None) if self.canary else None

    def _silence(self) -> Choice:
        if not self.canary:
            return self._unknown(
                "NoTraffic", "No KV cache moved yet. Send a request, or let canaries be sent."
            )
        done = max(self._ends(Source.ENGINE, Source.NIXL))
        if done >= self.need.least:
            return self._unknown(
                "CountersContradictEngine",
                f"The engine counts {decimal_bytes(done)} of KV cache, but nothing here moved them.",
            )
        accounts = [self.flows.paths[source] for source in (Source.ENGINE, Source.NIXL, Source.NVLINK)]
        if self.promise.gpus and not any(path.decode.there for path in accounts):
            named = f" The log names {self.log.named.spoken}." if self.log.named.carries else ""
            return self._unknown(
                "NotMeasured",
                f"Nothing that counts moved the KV cache, and not everything counts here.{named} Set "
                "NIXL_TELEMETRY_ENABLE=y and NIXL_TELEMETRY_EXPORTER=prometheus on the workers.",
            )
        why = (
            "no KV cache of this revision moved: two revisions answer, and it may have reached the other. It "
            "is tried again."
            if self.canary.shared
            else "no KV cache moved: decode computed the prompt itself. Look at the logs of the frontend and "
            "the prefill workers."
        )
        message = f"The canary was answered, but {why}"
        return Choice(Transport.NOTHING_MOVED, reason="NothingMoved", message=message)

    def _fabrics(self) -> list[Path]:
        return [self.flows.paths[source] for source in FABRICS]

    def _proven(self) -> list[Path]:
        return [p for p in self._fabrics() if p.there and self.need.met(p.net_sent, p.net_received)]

    def _possible(self) -> list[Path]:
        return [p for p in self._fabrics() if p.there and self.need.met(p.sent, p.received)]

    def _ends(self, *sources: Source) -> list[float]:
        paths = [self.flows.paths[source] for source in sources]
        return [count for path in paths for count in (path.sent, path.received)]

    def _lanes(self) -> list[str]:
        """Return the lanes over which the engines say to have read the most."""
        totals: dict[str, int] = {}
        for pod in self.window.pods(DECODE):
            for lanes, count in read_since(self.window.before[pod], self.window.after[pod]).items():
                totals[lanes] = totals.get(lanes, 0) + count
        most = max(totals, key=lambda lanes: totals[lanes], default="")
        return [lane for lane in most.split("+") if lane]

    def _transport(self, path: Path) -> Transport:
        return _BY_COUNTER[path.source, self._backend()[0] == LIBFABRIC]

    def _counted(self, path: Path, proof: Proof, count: float) -> Choice:
        return self._named(self._transport(path), proof, path.source, count)

    def _named(self, transport: Transport, proof: Proof, source: Source | None, count: float) -> Choice:
        backend, known = self._backend()
        return Choice(transport, proof, source, count, backend, known)

    def _unknown(self, reason: Reason, message: str) -> Choice:
        return Choice(Transport.UNKNOWN, reason=reason, message=message.strip())

    def _remark(self) -> str:
        first = next(iter(self.flows.remarks), "")
        more = len(self.flows.remarks) - 1
        return f"{first}{f' ({more} more)' if more > 0 else ''}." if first else ""

    def _backend(self) -> tuple[str, bool]:
        """Return the NIXL plugin in use, and whether it was seen."""
        if self.promise.method != "NIXL":
            return self.promise.method, True
        mapped = _PLUGINS & {plugin for evidence in self.window.after.values() for plugin in evidence.plugins}
        if len(mapped) == 1:
            return mapped.pop(), True
        if self.log.backend in _PLUGINS:
            return self.log.backend, True
        return self.promise.backend or "UCX", False


def _with(choice: Choice, contradiction: str) -> Choice:
    return replace(choice, contradictions=(*choice.contradictions, contradiction))


def _loops(lane: str) -> bool:
    """Tell whether a lane stays within its pod, where no interface that counts sees it."""
    return lane.partition(":")[0].endswith("/lo")
