"""Answers a question of size: numbers, whether disaggregation pays, and what is most uncertain. Pure."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from disagg_operator.api.wording import counted
from disagg_operator.sizing import kv, transfer
from disagg_operator.sizing.assumptions import FABRIC, TCP, Assumption, Assumptions
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.fleet import Aggregated, Fleet, Load, moved
from disagg_operator.sizing.kv import KvType
from disagg_operator.sizing.model import ModelShape
from disagg_operator.sizing.nodes import Sharing
from disagg_operator.sizing.roofline import Roofline
from disagg_operator.sizing.search import aggregated, disaggregated
from disagg_operator.sizing.words import duration, two

_EXPERTS = (
    "of mixtures of experts the roofline knows least, and its verdict may be wrong: --estimator "
    "aiconfigurator knows measured kernels"
)
_SLOWEST, _FASTEST = 1e-3, 1e4
"""GB/s between which the rate is sought that is enough."""
_PAYS, _COSTS = 1.2, 0.85
"""GPUs or nodes of aggregated serving over those of disaggregated; what lies between is within the error."""


class Verdict(StrEnum):
    """Whether disaggregation pays."""

    PAYS = "pays"
    SHARED = "pays only where other pods use the rest of its nodes"
    CLOSE = "too close to call"
    COSTS = "does not pay"
    MISSES = "misses the targets"


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        shape: the model.
        platform: name of the machines.
        fabric: name of what KV cache crosses.
        backend: NIXL plugin.
        load: requests and targets.
        kv_type: type of the KV cache.
        assumed: what is taken for given.
        nvlink: whether nodes are joined by the GPUs' own link.
        sharing: which instances may share a node.
    """

    shape: ModelShape
    platform: str
    fabric: str
    backend: str
    load: Load
    kv_type: KvType
    assumed: Assumptions
    nvlink: bool
    sharing: Sharing

    @property
    def token_bytes(self) -> float:
        """Bytes of KV cache of a token."""
        return kv.token_bytes(self.shape, self.kv_type)

    @property
    def buffer_tokens(self) -> int:
        """``max_tokens_in_buffer``."""
        margin, block = self.assumed["buffer_margin"], self.assumed["tokens_per_block"]
        return transfer.buffer_tokens(self.load.longest, int(margin), int(block))

    @property
    def roofline(self) -> Roofline:
        """The model on its GPUs."""
        return Roofline(self.shape, self.token_bytes, self.assumed, self.nvlink)

    def nodes(self, fleet: Fleet) -> int:
        """Return the whole nodes that prefill and decode take."""
        roles = [(role.gpus, role.replicas) for role in (fleet.prefill, fleet.decode)]
        return self.sharing.nodes(roles, self.per_node)

    def nodes_of_both(self, both: Aggregated) -> int:
        """Return the whole nodes that instances take which do both: those need no fabric."""
        return Sharing().nodes([(both.gpus, both.replicas)], self.per_node)

    @property
    def per_node(self) -> int:
        """GPUs of a node."""
        return int(self.assumed["gpus_per_node"])


@dataclass(frozen=True)
class Uncertainty:
    """The assumption on which the answer depends most.

    Attributes:
        assumption: which.
        at_low, at_high: GPUs at the ends of its range; None where the targets are missed there.
    """

    assumption: Assumption
    at_low: int | None
    at_high: int | None


@dataclass(frozen=True)
class Answer:
    """What serves the load, and how sure that is.

    Attributes:
        question: what was asked.
        method: how it was estimated, for people.
        fleet: prefill and decode.
        both: instances that do both, or None where they miss the targets.
        over_tcp: seconds that a prompt's cache would be under way over TCP; infinite where TCP carries less
            than the load.
        enough: least rate of the fabric, in bytes a second and GPU, with which this fleet meets the time to
            the first token; None where none does.
        verdict: whether disaggregation pays.
        why: why, in a sentence.
        uncertainty: what the answer depends on most; None where nothing changes it.
        notes: what else must be known.
    """

    question: Question
    method: str
    fleet: Fleet
    both: Aggregated | None
    over_tcp: float
    enough: float | None
    verdict: Verdict
    why: str
    uncertainty: Uncertainty | None
    notes: tuple[str, ...]


def answered(question: Question) -> Answer:
    """Answer by the roofline.

    Raises:
        SizingError: the prompt is longer than the model takes, or the model fits nowhere.
    """
    _check(question)
    roofline, load = question.roofline, question.load
    fleet = disaggregated(roofline, load, question.buffer_tokens)
    both = aggregated(roofline, load)
    verdict, why = judged(question, fleet, both)
    return Answer(
        question=question,
        method="roofline: FLOPs and bytes over the GPU's peaks times an efficiency; nothing was run",
        fleet=fleet,
        both=both,
        over_tcp=moved(roofline, load, fleet.prefill, fleet.decode, TCP),
        enough=enough(question, fleet),
        verdict=verdict,
        why=why,
        uncertainty=uncertain(question, fleet),
        notes=(*notes(question), *([_EXPERTS] if question.shape.experts else [])),
    )


def judged(question: Question, fleet: Fleet, both: Aggregated | None) -> tuple[Verdict, str]:
    """Return whether disaggregation pays, and why."""
    load = question.load
    if not fleet.meets:
        instead = f". Aggregated serving meets the targets with {both.total} GPUs" if both else ""
        return Verdict.MISSES, _missed(question, fleet) + instead
    if both is None:
        return (
            Verdict.PAYS,
            "no aggregated fleet meets both targets: chunks of prompts that leave enough time are too small",
        )
    nodes, nodes_of_both = question.nodes(fleet), question.nodes_of_both(both)
    told = (
        f"{_counted(fleet.gpus, nodes)} disaggregated, {_counted(both.total, nodes_of_both)} aggregated with "
        "prompts in chunks"
    )
    by_gpus, by_nodes = _compared(both.total / fleet.gpus), _compared(nodes_of_both / nodes)
    if by_gpus is Verdict.PAYS and by_nodes is Verdict.PAYS:
        return Verdict.PAYS, f"{told}, for the same {load.rate:g} requests/s and targets"
    if by_gpus is Verdict.PAYS:
        return Verdict.SHARED, f"{told}: fewer GPUs, but not fewer whole nodes"
    if by_gpus is Verdict.COSTS:
        return Verdict.COSTS, f"{told}: the targets leave aggregated serving room enough"
    if by_nodes is Verdict.COSTS:
        return Verdict.COSTS, f"{told}: about as many GPUs, but more whole nodes"
    return Verdict.CLOSE, f"{told}: the difference is within the error of this estimate, so measure both"


def _compared(ratio: float) -> Verdict:
    """Return what aggregated over disaggregated says by itself, of GPUs or of nodes."""
    if ratio >= _PAYS:
        return Verdict.PAYS
    return Verdict.COSTS if ratio <= _COSTS else Verdict.CLOSE


def _counted(gpus: int, nodes: int) -> str:
    return f"{counted(gpus, 'GPU')} on {counted(nodes, 'node')}"


def first_token(question: Question, fleet: Fleet, rate: float) -> float:
    """Return the seconds to the first token where the fabric moves so much a GPU, in GB/s; maybe infinite."""
    roofline = replace(question, assumed=question.assumed.at(FABRIC, rate)).roofline
    return (
        fleet.prefill.seconds
        + fleet.wait
        + moved(roofline, question.load, fleet.prefill, fleet.decode, FABRIC)
    )


def enough(question: Question, fleet: Fleet) -> float | None:
    """Return the least rate of the fabric with which a fleet meets the time to the first token, or None."""
    low, high = _SLOWEST, _FASTEST
    if first_token(question, fleet, high) > question.load.ttft:
        return None
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (
            (low, middle) if first_token(question, fleet, middle) <= question.load.ttft else (middle, high)
        )
    return high * 1e9


def uncertain(question: Question, fleet: Fleet) -> Uncertainty | None:
    """Return the assumption over whose range the number of GPUs varies most.

    Where the targets are missed, that is one with which they would be met; None where nothing changes it.
    """
    found: list[tuple[float, Uncertainty]] = []
    for each in question.assumed:
        if each.low == each.high:
            continue
        ends = [_gpus(question, each.name, value) for value in (each.low, each.high)]
        spread = sum(_apart(fleet, at) for at in ends)
        found.append((spread, Uncertainty(each, *ends)))
    spread, most = max(found, key=lambda pair: pair[0], default=(0.0, None))
    return most if spread else None


def _apart(fleet: Fleet, gpus: int | None) -> float:
    """Return how far a fleet is from another answer, whose GPUs are None where the targets are missed."""
    if not fleet.meets or gpus is None:
        return 0.0 if fleet.meets == (gpus is not None) else math.inf
    return abs(math.log(gpus / fleet.gpus))


def notes(question: Question) -> list[str]:
    """Return what else must be known of the model and this load."""
    shape, load = question.shape, question.load
    found = []
    if shape.sliding:
        kept = kv.windowed_bytes(shape, load.isl, question.kv_type)
        found.append(
            f"{shape.sliding} of {shape.layers} layers look at {shape.window} tokens only and are "
            "counted in full; an engine that "
            f"drops the others keeps {kept / 1e6:.3g} MB of a prompt"
        )
    if shape.latent:
        found.append(
            "latent attention is not split: attention data parallelism is assumed, with all attention "
            "weights on each GPU"
        )
    return found


def _gpus(question: Question, name: str, value: float) -> int | None:
    assumed = question.assumed.at(name, value)
    other = replace(question, assumed=assumed)
    try:
        fleet = disaggregated(other.roofline, other.load, other.buffer_tokens)
    except SizingError:
        return None
    return fleet.gpus if fleet.meets else None


def _missed(question: Question, fleet: Fleet) -> str:
    load = question.load
    if fleet.itl > load.itl:
        return (
            f"a token takes {duration(fleet.itl)} on any instance: write --itl "
            f"{math.ceil(fleet.itl * 1e3)} or more"
        )
    if math.isinf(fleet.transfer):
        carried = load.rate * question.token_bytes * load.isl / 1e9
        return (
            f"{question.fabric} does not carry the {two(carried)} GB/s of KV cache that this load makes "
            "between so few instances"
        )
    return (
        f"the first token takes {duration(fleet.ttft)}, {duration(fleet.transfer)} of it on "
        f"{question.fabric}: write --ttft {math.ceil(fleet.ttft * 1e3)} or more"
    )


def _check(question: Question) -> None:
    load, longest = question.load, question.shape.longest
    option = "--isl" if load.isl + load.osl > longest else "--max-isl"
    if longest and load.longest > longest:
        raise SizingError(
            f"{option}: prompt and answer have {load.longest} tokens, {question.shape.name} was made for "
            f"{longest}. Write a shorter one"
        )
