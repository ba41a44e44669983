"""The smallest fleets that serve a load within its targets: disaggregated, and aggregated beside it. Pure.

Requests come at random moments (Poisson) and are all alike. An instance computes one prompt at a time, so
that prompts wait as in an M/D/1 queue, and so do caches on their way. Times to the first token are means.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from disagg_operator.sizing import kv, transfer
from disagg_operator.sizing.assumptions import FABRIC, TCP
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.roofline import Memory, Roofline

_MOST_NODES = 16
_MOST_REPLICAS = 1000
"""The API's limit."""
_LARGEST_BATCH = 4096
_LARGEST_CHUNK = 8192
"""Tokens of prompts in a step: TensorRT-LLM's default of max_num_tokens."""
_FINE = 1.1
"""Step of the search for a batch."""


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Attributes:
        isl: tokens of a prompt.
        osl: tokens of an answer.
        rate: requests a second.
        ttft: seconds to the first token, at most.
        itl: seconds from token to token, at most.
    """

    isl: int
    osl: int
    rate: float
    ttft: float
    itl: float

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
            less than the load.
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


def disaggregated(roofline: Roofline, load: Load, buffer_tokens: int) -> Fleet:
    """Return the fleet of fewest GPUs that meets the targets, or the one that comes closest to them.

    Raises:
        SizingError: the model fits on no instance, or too many are needed.
    """
    sizes = list(_sizes(roofline))
    decodes = [role for gpus in sizes for role in _decode(roofline, load, gpus, buffer_tokens)]
    if not decodes:
        raise _fits_nowhere(roofline, load, sizes, buffer_tokens)
    in_time = [role for role in decodes if role.seconds <= load.itl] or [
        min(decodes, key=lambda role: role.seconds)
    ]
    fleets = [
        fleet
        for gpus in sizes
        if (memory := roofline.memory(gpus, buffer_tokens)) is not None
        and roofline.cached_tokens(memory, gpus) >= load.isl
        for decode in in_time
        for fleet in _fleets(roofline, load, gpus, memory, decode)
    ]
    if not fleets:
        raise _too_many(load)
    return min(
        fleets, key=lambda fleet: (not fleet.meets, fleet.gpus if fleet.meets else fleet.ttft, fleet.ttft)
    )


def aggregated(roofline: Roofline, load: Load) -> Aggregated | None:
    """Return the fleet of instances that do both, of fewest GPUs, or None where none meets the targets."""
    found = [each for gpus in _sizes(roofline) if (each := _both(roofline, load, gpus)) is not None]
    return min(found, key=lambda each: (each.total, each.ttft), default=None)


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


def _fits_nowhere(roofline: Roofline, load: Load, sizes: Sequence[int], buffer_tokens: int) -> SizingError:
    """Return why there is no decode at all."""
    if any(_room(roofline, load, gpus, buffer_tokens) >= 1 for gpus in sizes):
        return _too_many(load)
    together = roofline.assumed["gpu_memory"] * sizes[-1] / 1e9
    return SizingError(
        f"--platform: {roofline.shape.name} needs {roofline.shape.weight_bytes / 1e9:.0f} GB for "
        "weights, and "
        f"has no room with one request on {sizes[-1]} GPUs of {together:.0f} GB together. Write a platform "
        "with more memory, or --weights fp8"
    )


def _too_many(load: Load) -> SizingError:
    return SizingError(
        f"--rate: {load.rate:g} requests/s need more than {_MOST_REPLICAS} instances of a role. Write a "
        "lower one"
    )


def _room(roofline: Roofline, load: Load, gpus: int, buffer_tokens: int) -> float:
    """Return how many whole sequences an instance's KV cache holds."""
    memory = roofline.memory(gpus, buffer_tokens)
    return roofline.cached_tokens(memory, gpus) / (load.isl + load.osl) if memory is not None else 0.0


def _sizes(roofline: Roofline) -> Iterator[int]:
    """Yield numbers of GPUs of an instance: powers of two within a node, then whole nodes."""
    per_node = int(roofline.assumed["gpus_per_node"])
    gpus = 1
    while gpus < per_node:
        yield gpus
        gpus *= 2
    nodes = 1
    while nodes <= _MOST_NODES:
        if roofline.shape.heads % (per_node * nodes) == 0:
            yield per_node * nodes
        nodes *= 2


def _decode(roofline: Roofline, load: Load, gpus: int, buffer_tokens: int) -> Iterator[Role]:
    memory = roofline.memory(gpus, buffer_tokens)
    room = _room(roofline, load, gpus, buffer_tokens)
    if memory is None or room < 1:
        return

    def step(batch: float) -> float:
        return roofline.decode_seconds(batch, load.context, gpus)

    most = min(int(room), _LARGEST_BATCH)
    batch = max(1, bisect_right(range(1, most + 1), load.itl, key=step))
    capacity = batch / (load.osl * step(batch)) * roofline.assumed["decode_load"]
    replicas = math.ceil(load.rate / capacity)
    if replicas > _MOST_REPLICAS:
        return
    running = _running(load, replicas, batch, gpus, roofline)
    seconds = step(max(running, 1.0))
    yield Role(gpus, replicas, batch, running, seconds, memory, **_parallel(roofline, gpus))


def _running(load: Load, replicas: int, batch: int, gpus: int, roofline: Roofline) -> float:
    """Return how many sequences an instance has on average: as many as come while one is answered."""
    low, high = 0.0, float(batch)
    for _ in range(25):
        middle = (low + high) / 2
        step = roofline.decode_seconds(max(middle, 1.0), load.context, gpus)
        low, high = (middle, high) if load.rate / replicas * load.osl * step > middle else (low, middle)
    return high


def _fleets(roofline: Roofline, load: Load, gpus: int, memory: Memory, decode: Role) -> Iterator[Fleet]:
    seconds = roofline.prefill_seconds(load.isl, gpus)
    least = math.ceil(load.rate * seconds / roofline.assumed["prefill_load"])
    for replicas in range(max(1, least), min(2 * max(1, least) + 8, _MOST_REPLICAS)):
        busy = load.rate * seconds / replicas
        prefill = Role(gpus, replicas, 1, busy, seconds, memory, **_parallel(roofline, gpus))
        wait = waiting(seconds, busy)
        under_way = moved(roofline, load, prefill, decode, FABRIC)
        ttft = seconds + wait + under_way
        fleet = Fleet(
            prefill,
            decode,
            wait,
            under_way,
            ttft,
            decode.seconds,
            ttft <= load.ttft and decode.seconds <= load.itl,
        )
        yield fleet
        if fleet.meets:
            return


def _both(roofline: Roofline, load: Load, gpus: int) -> Aggregated | None:
    room = _room(roofline, load, gpus, 0)
    each = roofline.prompt_flops(load.isl) / load.isl
    best: Aggregated | None = None
    for batch in _batches(room):
        chunk = _chunk(roofline, load, batch, each, gpus)
        if chunk < 1:
            break
        step = roofline.mixed_seconds(batch, load.context, chunk, chunk * each, gpus)
        prompt = load.isl / chunk * step
        busy = batch / load.osl * load.isl / chunk
        ttft = prompt + waiting(prompt, busy)
        if busy > roofline.assumed["prefill_load"] or ttft > load.ttft:
            continue
        replicas = math.ceil(load.rate * load.osl * step / (batch * roofline.assumed["decode_load"]))
        if replicas <= _MOST_REPLICAS and (best is None or replicas < best.replicas):
            best = Aggregated(gpus, replicas, batch, int(chunk), ttft, step)
    return best


def _chunk(roofline: Roofline, load: Load, batch: int, each: float, gpus: int) -> float:
    """Return the most tokens of a prompt that a step can take and still end in time."""
    low, high = 0.0, float(min(load.isl, _LARGEST_CHUNK))
    for _ in range(13):
        middle = (low + high) / 2
        in_time = roofline.mixed_seconds(batch, load.context, middle, middle * each, gpus) <= load.itl
        low, high = (middle, high) if in_time else (low, middle)
    return low


def _batches(room: float) -> Iterator[int]:
    most = min(int(room), _LARGEST_BATCH)
    batch = 1
    while batch < most:
        yield batch
        batch = max(batch + 1, int(batch * _FINE))
    if most >= 1:
        yield most


def _parallel(roofline: Roofline, gpus: int) -> dict[str, Any]:
    """Return how an instance is split besides by tensors."""
    shape = roofline.shape
    return {"expert": gpus if shape.experts else 1, "attention_dp": shape.latent and gpus > 1}
