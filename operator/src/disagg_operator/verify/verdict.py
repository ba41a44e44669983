"""What was found about the way of KV cache, as a value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from disagg_operator.api.transport import Promise, Transport

Verified = Literal["True", "False", "Unknown"]
Confidence = Literal["High", "Medium", "Low"]
Reason = Literal[
    "AsPromised",
    "FewerDevicesThanGpus",
    "WorseTransport",
    "TooSlow",
    "RateNotTold",
    "AnswersDiffer",
    "NothingMoved",
    "OthersMoved",
    "NoTraffic",
    "CanaryFailed",
    "AgentsUnreachable",
    "NoWorkers",
    "EndsDisagree",
    "TooFewBytes",
    "EvidenceIncomplete",
    "Ambiguous",
    "CountersContradictEngine",
    "NotMeasured",
    "NoCounters",
    "MeasurementFailed",
]
"""Stable words for programs."""

MOST_EVIDENCE = 6


@dataclass(frozen=True)
class RoleVerdict:
    """What one role shows.

    Attributes:
        label: transport for people, such as ``NIXL/UCX srd``; empty where nothing is known of it.
        sent: bytes that its pods sent by what counted the transport.
        received: bytes that they received.
    """

    label: str = ""
    sent: int = 0
    received: int = 0


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        transport: what carried KV cache.
        label: the same for people, such as ``NIXL/UCX srd``.
        verified: whether that is what the platform promises: ``True``, ``False`` or ``Unknown``.
        reason: stable word for programs.
        message: what was found and what to do, in one or two sentences.
        bytes: bytes that moved from prefill to decode.
        expected_bytes: bytes that had to, or None where that is not known.
        rate: bytes a second; the transfer was at least that fast. None where nothing was measured.
        devices_used: fabric devices that moved bytes, in the pod with the smallest share.
        devices_given: fabric devices of that pod.
        confidence: how good the evidence is.
        evidence: at most 6 short lines.
        contradictions: what does not fit together.
        roles: what each role shows.
    """

    transport: Transport
    label: str
    verified: Verified
    reason: Reason
    message: str
    bytes: int = 0
    expected_bytes: int | None = None
    rate: float | None = None
    devices_used: int = 0
    devices_given: int = 0
    confidence: Confidence = "Low"
    evidence: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    roles: Mapping[str, RoleVerdict] = field(default_factory=dict)


def label(promise: Promise, transport: Transport) -> str:
    """Return a transport for people, such as ``NIXL/UCX srd``."""
    carries_method = transport.carries and promise.method == "NIXL"
    return f"NIXL/{transport.label}" if carries_method else transport.label


def unknown(reason: Reason, message: str, evidence: Iterable[str] = ()) -> Verdict:
    """Return the verdict that nothing can be told.

    Args:
        reason: stable word for programs.
        message: why, and what to do.
        evidence: lines to keep.
    """
    transport = Transport.UNKNOWN
    return Verdict(
        transport, transport.label, "Unknown", reason, message, evidence=tuple(evidence)[:MOST_EVIDENCE]
    )
