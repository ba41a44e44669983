"""Evidence → what KV cache moved over, and whether that is what the platform promises.

Invariants: total, never an exception; ``False`` only on evidence of something that is wrong, everything else
that is not proven is ``Unknown``; ``True`` only where both ends show the bytes that had to move; counters
that contradict the log win, and the message says so.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from disagg_operator.api.transport import RDMA, Promise
from disagg_operator.verify.canary import Canary
from disagg_operator.verify.choice import Choice, Chooser, Need, Proof
from disagg_operator.verify.counters import Source
from disagg_operator.verify.lacking import lacking
from disagg_operator.verify.logs import LogFindings, merged, shortened
from disagg_operator.verify.paths import DECODE, PREFILL, Devices, Flows, Window, flows
from disagg_operator.verify.rate import Duration, duration
from disagg_operator.verify.sentences import decimal_bytes, decimal_rate, promised, remedy
from disagg_operator.verify.verdict import (
    MOST_EVIDENCE,
    Confidence,
    Reason,
    RoleVerdict,
    Verdict,
    Verified,
    label,
    unknown,
)

ENOUGH = 0.9
"""Part of the expected bytes that each end must show: background that is taken off is never exact."""
_LEAST_BYTES_PER_TOKEN = 4096.0
"""No model in use takes less KV cache a token, and a request's text and bookkeeping take less than that."""
_APART = 2.0
_LEAST_PASSIVE_BYTES = 8e6
_APART_PASSIVE = 1.25
_CLEAR = 1.5
"""More than this of the expected bytes means that something else moved as well."""
_GB = 1e9
_SAME_ANSWER = 0.5
"""Part of the shorter answer that both must begin with."""


def judge(
    promises: Mapping[str, Promise], window: Window, canary: Canary | None, logs: Mapping[str, LogFindings]
) -> Verdict:
    """Return what KV cache moved over, and whether that is what the platform promises.

    Args:
        promises: what the platform promises the pods of each role.
        window: three looks at all workers, the last two before and after the canary.
        canary: the request; None where none was sent, so that only users may have moved something.
        logs: what the log of each pod says, by its name.
    """
    log = merged(logs.values())
    if canary is not None and (error := canary.first.error or canary.again.error):
        return unknown("CanaryFailed", f"The canary was not answered: {error}", log.lines)
    lost = [role for role in (PREFILL, DECODE) if not window.pods(role)]
    if lost:
        missing = ", ".join(window.missing()) or "there are none"
        return unknown(
            "AgentsUnreachable",
            f"No transport agent of the {lost[0]} workers answered each time ({missing}).",
            log.lines,
        )
    found = flows(window)
    promise = _common(promises)
    choice = Chooser(promise, window, found, log, _need(canary), canary).choose()
    return _Judgement(promise, promises, window, found, canary, log, choice).verdict()


def _common(promises: Mapping[str, Promise]) -> Promise:
    """Return what both roles are promised: KV cache takes one way between them."""
    some = [promise.transports for promise in promises.values() if promise.transports]
    shared = frozenset.intersection(*some) if some else frozenset()
    least = [promise.minimum_gbps for promise in promises.values() if promise.minimum_gbps is not None]
    first = next(iter(promises.values()), Promise())
    return replace(
        first,
        transports=shared or frozenset().union(*some),
        devices=max((promise.devices for promise in promises.values()), default=0),
        gpus=max((promise.gpus for promise in promises.values()), default=0),
        minimum_gbps=max(least, default=None),
        excluded_by=next((promise.excluded_by for promise in promises.values() if promise.excluded_by), ""),
    )


def _need(canary: Canary | None) -> Need:
    if canary is None:
        return Need(_LEAST_PASSIVE_BYTES, apart=_APART_PASSIVE)
    if canary.expected_bytes is None or canary.expected_bytes <= 0:
        return Need(max(canary.tokens, 1) * _LEAST_BYTES_PER_TOKEN, apart=_APART)
    return Need(canary.expected_bytes * ENOUGH)


@dataclass(frozen=True)
class _Judgement:
    """What was found, on its way to a verdict."""

    promise: Promise
    by_role: Mapping[str, Promise]
    window: Window
    flows: Flows
    canary: Canary | None
    log: LogFindings
    choice: Choice

    def verdict(self) -> Verdict:
        verified, reason, message = self._outcome()
        used, given = self._devices()
        expected = self.canary.expected_bytes if self.canary else None
        transport = self.choice.transport
        return Verdict(
            transport=transport,
            label=label(self.promise, transport),
            verified=verified,
            reason=reason,
            message=" ".join([message, *self.choice.contradictions]),
            bytes=round(self.choice.bytes),
            expected_bytes=None if expected is None else round(expected),
            rate=self._rate(),
            devices_used=used,
            devices_given=given,
            confidence=self._confidence(),
            evidence=tuple(shortened(line) for line in self._evidence())[:MOST_EVIDENCE],
            contradictions=self.choice.contradictions,
            roles=self._roles(),
        )

    def _outcome(self) -> tuple[Verified, Reason, str]:
        transport, promise = self.choice.transport, self.promise
        if self.canary is not None and _differ(self.canary.first.text, self.canary.again.text):
            return (
                "False",
                "AnswersDiffer",
                "The same prompt was answered differently from its start, though sampling is deterministic: "
                "KV cache may arrive damaged. Compare with a deployment that does not disaggregate.",
            )
        if not transport.carries:
            return "Unknown", self.choice.reason, self._with_fault(self.choice.message)
        moved = f"KV cache moves as {transport.spoken}"
        if promise.transports and transport not in promise.transports:
            return (
                "False",
                "WorseTransport",
                self._with_fault(f"{moved}, but the platform promises {promised(promise)}: {self._cause()}."),
            )
        slow = self._too_slow()
        if slow is not None:
            return "False", "TooSlow", f"{moved}, at {slow}."
        untold = self._untold()
        if untold is not None:
            return "Unknown", "RateNotTold", f"{moved}{self._amount()}, but {untold}."
        fewer = self._fewer_devices()
        if fewer is not None:
            return "True", "FewerDevicesThanGpus", f"{moved}, but over {fewer}."
        return "True", "AsPromised", f"{moved}{self._amount()}."

    def _cause(self) -> str:
        """Return why what is promised was not taken, with the remedy, or else what to check."""
        if self.promise.excluded_by:
            return f"{self.promise.excluded_by}, which excludes that. Leave the variable out"
        known = lacking(self.window) if self.promise.transports & RDMA else ""
        return known or remedy(self.promise, self.choice.transport)

    def _amount(self) -> str:
        count = decimal_bytes(self.choice.bytes)
        expected = self.canary.expected_bytes if self.canary else None
        asked = f" of {decimal_bytes(expected)} expected" if expected else ""
        return f" ({count}{asked})"

    def _with_fault(self, sentence: str) -> str:
        """Add what the log calls wrong, if anything."""
        first = next(iter(self.log.faults), None)
        return sentence if first is None else f"{sentence} {first.says}"

    def _rate(self) -> float | None:
        """Return bytes a second at least."""
        took = self._took()
        return None if took is None or took.at_most <= 0 else self.choice.bytes / took.at_most

    def _took(self) -> Duration | None:
        """Return how long the transfer took."""
        if self.canary is None or not self.choice.bytes:
            return None
        source = self.choice.source or (Source.ENGINE if self.choice.proof is Proof.ACCOUNT else Source.NIXL)
        return duration(self.canary.samples, source) or Duration(0.0, self.canary.seconds)

    def _too_slow(self) -> str | None:
        """Return the highest rate that it can have had, if that is below what is asked for."""
        least, took = self.promise.minimum_gbps, self._took()
        if least is None or took is None or took.at_least <= 0:
            return None
        highest = self.choice.bytes / took.at_least
        if highest >= least * _GB:
            return None
        return (
            f"{decimal_rate(highest)} at most, and verification.minimumGBps asks for {least:g} GB/s: "
            f"{remedy(self.promise, self.choice.transport)}"
        )

    def _untold(self) -> str | None:
        """Return that the transfer was too short to tell whether it was as fast as is asked for."""
        rate, least = self._rate(), self.promise.minimum_gbps
        if least is None or (rate is not None and rate >= least * _GB):
            return None
        asked = f"whether it reaches verification.minimumGBps, {least:g} GB/s, cannot be told"
        if rate is None or self.canary is None:
            return f"{asked}: its rate was not measured. Leave minimumGBps out"
        # Were all of that time what a transfer costs whatever its size, this many would just do.
        tokens = _two_digits(self.canary.tokens * least * _GB / rate)
        return (
            f"{asked} from so few bytes: {decimal_rate(rate)} at least. Raise verification.promptTokens to "
            f"{tokens} or more, or leave minimumGBps out where no prompt may be as long"
        )

    def _fewer_devices(self) -> str | None:
        """Return how many devices took part if GPUs of the pod could use more."""
        if self._found_devices is None:
            return None
        promise = self.by_role.get(self._found_devices.role, self.promise)
        used, given = self._devices()
        needed = min(promise.gpus or given, given)
        if not promise.rails or used >= needed:
            return None
        return (
            f"{used} of {needed} devices that the GPUs of each {self._found_devices.role} pod could use: "
            "check that each GPU's nearest device is among those of the pod (nvidia-smi topo -m)"
        )

    @property
    def _found_devices(self) -> Devices | None:
        source = self.choice.source
        return self.flows.devices(source) if source in {Source.EFA, Source.RDMA} else None

    def _devices(self) -> tuple[int, int]:
        """Return the fabric devices that took part and those that the pod has."""
        found = self._found_devices
        if found is None:
            return 0, self.promise.devices
        return found.used, self.by_role.get(found.role, self.promise).devices or found.seen

    def _confidence(self) -> Confidence:
        proof, canary = self.choice.proof, self.canary
        if proof is None or proof is Proof.ELIMINATION or canary is None:
            return "Low"
        clear = (
            proof is Proof.NET
            and canary.expected_bytes is not None
            and self.choice.bytes <= canary.expected_bytes * _CLEAR
            and self.choice.backend_known
            and not self.choice.contradictions
            and canary.first.text == canary.again.text
        )
        return "High" if clear else "Medium"

    def _evidence(self) -> Iterator[str]:
        for source in Source:
            path = self.flows.paths[source]
            if (
                path.there
                and max(path.sent, path.received) > 0
                and source in {self.choice.source, Source.ENGINE}
            ):
                yield (
                    f"{source}: prefill sent {decimal_bytes(path.sent)}, decode received "
                    f"{decimal_bytes(path.received)}"
                )
        if self.canary is not None:
            expected = self.canary.expected_bytes
            size = "of unknown size" if expected is None else decimal_bytes(expected)
            yield f"canary: {self.canary.tokens} tokens, KV cache {size}"
            if self.canary.first.text != self.canary.again.text:
                yield "canary: the two answers part after a while, as rounding may cause"
        nixl = self.flows.paths[Source.NIXL]
        if max(nixl.sent, nixl.received) > 0:
            yield f"NIXL's telemetry: {decimal_bytes(max(nixl.sent, nixl.received))}"
        yield from (f"not counted: {remark}" for remark in self.flows.remarks[:2])
        yield from (f"log: {fault.line}" for fault in self.log.faults[:1])
        if named := len(self.log.srd_devices):
            yield f"log: UCX names {named} srd devices, for {self.promise.gpus} GPUs a pod"
        yield from (f"log: {line}" for line in self.log.lines)

    def _roles(self) -> dict[str, RoleVerdict]:
        source = self.choice.source or (Source.ENGINE if self.choice.proof is Proof.ACCOUNT else None)
        if source is None:
            return {}
        path = self.flows.paths[source]
        named = label(self.promise, self.choice.transport)
        return {
            role: RoleVerdict(named, round(end.sent), round(end.received))
            for role, end in ((PREFILL, path.prefill), (DECODE, path.decode))
        }


def _two_digits(number: float) -> int:
    """Return a number rounded up to two digits."""
    unit = int(10 ** max(0, math.floor(math.log10(max(number, 1))) - 1))
    return math.ceil(number / unit) * unit


def _differ(first: str | None, again: str | None) -> bool:
    """Tell whether two answers part early; late parting is what rounding in busy batches may cause."""
    if first is None or again is None or first == again:
        return False
    shared = 0
    for one, other in zip(first, again, strict=False):
        if one != other:
            break
        shared += 1
    return shared < _SAME_ANSWER * min(len(first), len(again)) or not min(len(first), len(again))
