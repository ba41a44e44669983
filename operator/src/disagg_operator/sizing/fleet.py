"""Loads, fleets that serve them (disaggregated or aggregated), and what waiting costs. Pure.

Requests come at random moments (Poisson) and are taken as all alike; limits alone know the longest. An
instance computes one prompt at a time, so that prompts wait as in an M/D/1 queue, and so do caches on their
way. Times to the first token are means.
"""

import math
from dataclasses import dataclass

from disagg_operator.sizing import kv, transfer
from disagg_operator.sizing.assumptions import TCP
from disagg_operator.sizing.roofline import Memory, Roofline


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Attributes:
        isl: tokens of a prompt.
        osl: tokens of an answer.
        rate: requests a second.
        ttft: seconds to the first token, at most.
        itl: seconds from token to token, at most.
        max_isl: tokens of the longest prompt; 0 where all have ``isl``.
    """

    isl: int
    osl: int
    rate: float
    ttft: float
    itl: float
    max_isl: int = 0

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its answer."""
        return max(self.isl, self.max_isl) + self.osl

    @property
    def context(self) -> float:
        """Tokens of a sequence that is being decoded, on average."""
        return self.isl + self.osl / 2


@dataclass(frozen=True)
class Role:
    """Instances of one role.

    Attributes:
        gpus: of an instance.
        replicas: instances.
        batch: sequences in an instance at a time; the most that it shall take.
        running: of these, how many are there at this load.
        seconds: for a prompt (prefill) or for a token of each sequence (decode) at this load.
        memory: of each GPU.
        pipeline: groups of layers that its GPUs are split into.
        expert: expert parallel size.
        attention_dp: whether each GPU has the whole attention, and requests of its own.
    """

    gpus: int
    replicas: int
    batch: int
    running: float
    seconds: float
    memory: Memory
    pipeline: int = 1
    expert: int = 1
    attention_dp: bool = False


@dataclass(frozen=True)
class Fleet:
    """Prefill and decode together.

    Attributes:
        prefill, decode: the roles.
        wait: seconds that a prompt waits for prefill.
        transfer: seconds that its cache is under way, waiting included; infinite where the fabric carries
            less than the load between these instances.
        ttft, itl: seconds to the first token and from token to token.
        meets: whether the targets are met.
    """

    prefill: Role
    decode: Role
    wait: float
    transfer: float
    ttft: float
    itl: float
    meets: bool

    @property
    def gpus(self) -> int:
        """All GPUs."""
        return sum(role.gpus * role.replicas for role in (self.prefill, self.decode))


@dataclass(frozen=True)
class Aggregated:
    """Instances that do both, with prompts in chunks between tokens.

    Attributes:
        gpus: of an instance.
        replicas: instances.
        batch: sequences in an instance at a time.
        chunk: tokens of prompts in a step.
        ttft, itl: seconds to the first token and from token to token.
    """

    gpus: int
    replicas: int
    batch: int
    chunk: int
    ttft: float
    itl: float

    @property
    def total(self) -> int:
        """All GPUs."""
        return self.gpus * self.replicas


def moved(roofline: Roofline, load: Load, fleet_prefill: Role, decode: Role, name: str) -> float:
    """Return how long a prompt's cache is under way, waiting included.

    Args:
        roofline: the model and what is assumed.
        load: what is asked for.
        fleet_prefill: senders.
        decode: receivers.
        name: which rate is assumed: that of the fabric, a GPU, or of TCP, a pod.

    Returns:
        Seconds; infinite where senders or receivers carry less than the load.
    """
    size = roofline.token_bytes * load.isl
    if name == TCP:
        streams, per_pod = 1, roofline.assumed["gpus_per_node"]
        lanes = min(role.replicas * math.ceil(role.gpus / per_pod) for role in (fleet_prefill, decode))
    else:
        streams = kv.streams(roofline.shape, fleet_prefill.gpus, decode.gpus)
        lanes = min(role.replicas * (role.gpus // streams) for role in (fleet_prefill, decode))
    alone = transfer.seconds(size, roofline.assumed[name], streams)
    return alone + waiting(alone, load.rate * alone / lanes)


def waiting(seconds: float, load: float) -> float:
    """Return the mean time in an M/D/1 queue before service: infinite from a load of 1 on."""
    return seconds * load / (2 * (1 - load)) if load < 1 else math.inf
