"""The smallest fleets that serve a load within its targets: disaggregated, and aggregated beside it. Pure.

Instances are of every size that a platform has, as many as needed up to the API's limit.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from disagg_operator.sizing.assumptions import FABRIC
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.fleet import Aggregated, Fleet, Load, Role, moved, waiting
from disagg_operator.sizing.roofline import Roofline
from disagg_operator.sizing.words import two

_MOST_NODES = 16
_MOST_REPLICAS = 1000
"""The API's limit."""
_LARGEST_BATCH = 4096
_LARGEST_CHUNK = 8192
"""Tokens of prompts in a step: TensorRT-LLM's default of max_num_tokens."""
_FINE = 1.1
"""Step of the search for a batch."""
_NEAR = 1.5
"""Of the shortest time to the first token that any fleet has: what comes close enough where all are late."""


def disaggregated(roofline: Roofline, load: Load, buffer_tokens: int) -> Fleet:
    """Return the fleet of fewest GPUs that meets the targets, or one that comes close to them.

    All instances of a role have the same number of GPUs.

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
    prefills = [role for gpus in sizes for role in _prefill(roofline, load, gpus, buffer_tokens)]
    if not prefills:
        raise _too_many(load)
    pairs = [_Pair(roofline, load, prefill, decode) for prefill in prefills for decode in in_time]
    shortest = min(pair.first_token(_MOST_REPLICAS, _MOST_REPLICAS) for pair in pairs)
    if math.isinf(shortest):
        raise _too_much(roofline, load)
    return _smallest(pairs, load.ttft if shortest <= load.ttft else shortest * _NEAR)


def aggregated(roofline: Roofline, load: Load) -> Aggregated | None:
    """Return the fleet of instances that do both, of fewest GPUs, or None where none meets the targets."""
    found = [each for gpus in _sizes(roofline) if (each := _both(roofline, load, gpus)) is not None]
    return min(found, key=lambda each: (each.total, each.ttft), default=None)


@dataclass(frozen=True)
class _Pair:
    """Instances of two sizes, of each role as few as can compute the load.

    More of either role never take longer: prompts wait less for prefill, and caches for the fabric, which
    carries as much as the role with fewer lanes.
    """

    roofline: Roofline
    load: Load
    prefill: Role
    decode: Role

    def first_token(self, senders: int, receivers: int) -> float:
        """Return the seconds to the first token with so many instances of prefill and of decode."""
        return self.prefill.seconds + sum(self._delays(senders, receivers))

    def gpus(self, senders: int, receivers: int) -> int:
        """Return all GPUs of so many instances of prefill and of decode."""
        return senders * self.prefill.gpus + receivers * self.decode.gpus

    def least(self, ttft: float) -> Iterator[tuple[int, int]]:
        """Yield numbers of instances that have the first token in time, and of which neither can be less.

        Those of prefill rise, those of decode fall.
        """
        receivers = _MOST_REPLICAS
        while receivers >= self.decode.replicas:
            senders = self._senders(receivers, ttft)
            if senders > _MOST_REPLICAS:
                return
            receivers = self._receivers(senders, ttft)
            yield senders, receivers
            receivers -= 1

    def fleet(self, senders: int, receivers: int) -> Fleet:
        """Return the fleet of so many instances of prefill and of decode."""
        busy = self.load.rate * self.prefill.seconds / senders
        prefill = replace(self.prefill, replicas=senders, running=busy)
        decode = _at_work(self.roofline, self.load, replace(self.decode, replicas=receivers))
        wait, under_way = self._delays(senders, receivers)
        ttft = self.first_token(senders, receivers)
        meets = ttft <= self.load.ttft and decode.seconds <= self.load.itl
        return Fleet(prefill, decode, wait, under_way, ttft, decode.seconds, meets)

    def _senders(self, receivers: int, ttft: float) -> int:
        return _first(self.prefill.replicas, lambda number: self.first_token(number, receivers) <= ttft)

    def _receivers(self, senders: int, ttft: float) -> int:
        return _first(self.decode.replicas, lambda number: self.first_token(senders, number) <= ttft)

    def _delays(self, senders: int, receivers: int) -> tuple[float, float]:
        """Return how long a prompt waits for prefill, and how long its cache is under way."""
        wait = waiting(self.prefill.seconds, self.load.rate * self.prefill.seconds / senders)
        prefill, decode = replace(self.prefill, replicas=senders), replace(self.decode, replicas=receivers)
        return wait, moved(self.roofline, self.load, prefill, decode, FABRIC)


def _smallest(pairs: Sequence[_Pair], ttft: float) -> Fleet:
    """Return the fleet of fewest GPUs, and of those the fastest, that has the first token in time."""
    found: list[tuple[int, float, _Pair, int, int]] = []
    fewest: float = math.inf
    for pair in sorted(pairs, key=lambda each: each.gpus(each.prefill.replicas, each.decode.replicas)):
        for senders, receivers in pair.least(ttft):
            if pair.gpus(senders, pair.decode.replicas) > fewest:
                break
            gpus = pair.gpus(senders, receivers)
            fewest = min(fewest, gpus)
            found.append((gpus, pair.first_token(senders, receivers), pair, senders, receivers))
    *_, best, senders, receivers = min(found, key=lambda each: each[:2])
    return best.fleet(senders, receivers)


def _first(least: int, enough: Callable[[int], bool]) -> int:
    """Return the first number of instances from the least on that is enough; past the most where none is."""
    return bisect_left(range(_MOST_REPLICAS + 1), True, lo=least, key=enough)


def _fits_nowhere(roofline: Roofline, load: Load, sizes: Sequence[int], buffer_tokens: int) -> SizingError:
    """Return why there is no decode at all."""
    if any(_takes_longest(roofline, load, gpus, buffer_tokens) for gpus in sizes):
        return _too_many(load)
    together = roofline.assumed["gpu_memory"] * sizes[-1] / 1e9
    return SizingError(
        f"--platform: {roofline.shape.name} needs {roofline.shape.weight_bytes / 1e9:.0f} GB for "
        "weights, and "
        f"has no room with one request of {load.longest} tokens on {sizes[-1]} GPUs of {together:.0f} GB "
        "together. Write a platform with more memory, --weights fp8, or a smaller --max-isl"
    )


def _too_many(load: Load) -> SizingError:
    return SizingError(
        f"--rate: {load.rate:g} requests/s need more than {_MOST_REPLICAS} instances of a role. Write a "
        "lower one"
    )


def _too_much(roofline: Roofline, load: Load) -> SizingError:
    made = two(load.rate * roofline.token_bytes * load.isl / 1e9)
    return SizingError(
        f"--rate: {load.rate:g} requests/s make {made} GB/s of KV cache, which {_MOST_REPLICAS} instances of "
        "each role do not move over this fabric. Write a lower one"
    )


def _room(roofline: Roofline, load: Load, gpus: int, buffer_tokens: int) -> float:
    """Return how many whole sequences an instance's KV cache holds."""
    memory = roofline.memory(gpus, buffer_tokens)
    return roofline.cached_tokens(memory, gpus) / (load.isl + load.osl) if memory is not None else 0.0


def _takes_longest(roofline: Roofline, load: Load, gpus: int, buffer_tokens: int) -> bool:
    """Return whether an instance's KV cache holds the longest prompt with its answer."""
    memory = roofline.memory(gpus, buffer_tokens)
    return memory is not None and roofline.cached_tokens(memory, gpus) >= load.longest


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
    if memory is None or not _takes_longest(roofline, load, gpus, buffer_tokens):
        return

    def step(batch: float) -> float:
        return roofline.decode_seconds(batch, load.context, gpus)

    most = min(int(room), _LARGEST_BATCH)
    batch = max(1, bisect_right(range(1, most + 1), load.itl, key=step))
    capacity = batch / (load.osl * step(batch)) * roofline.assumed["decode_load"]
    needed = load.rate / capacity
    if needed > _MOST_REPLICAS:
        return
    role = Role(gpus, math.ceil(needed), batch, batch, step(batch), memory, **_parallel(roofline, gpus))
    yield _at_work(roofline, load, role)


def _at_work(roofline: Roofline, load: Load, decode: Role) -> Role:
    """Return decode with as many sequences as this load makes, and the time that these take."""
    running = _running(load, decode.replicas, decode.batch, decode.gpus, roofline)
    seconds = roofline.decode_seconds(max(running, 1.0), load.context, decode.gpus)
    return replace(decode, running=running, seconds=seconds)


def _running(load: Load, replicas: int, batch: int, gpus: int, roofline: Roofline) -> float:
    """Return how many sequences an instance has on average: as many as come while one is answered."""
    low, high = 0.0, float(batch)
    for _ in range(25):
        middle = (low + high) / 2
        step = roofline.decode_seconds(max(middle, 1.0), load.context, gpus)
        low, high = (middle, high) if load.rate / replicas * load.osl * step > middle else (low, middle)
    return high


def _prefill(roofline: Roofline, load: Load, gpus: int, buffer_tokens: int) -> Iterator[Role]:
    memory = roofline.memory(gpus, buffer_tokens)
    if memory is None or roofline.cached_tokens(memory, gpus) < load.longest - load.osl:
        return
    seconds = roofline.prefill_seconds(load.isl, gpus)
    needed = load.rate * seconds / roofline.assumed["prefill_load"]
    if needed > _MOST_REPLICAS:
        return
    replicas = max(1, math.ceil(needed))
    busy = load.rate * seconds / replicas
    yield Role(gpus, replicas, 1, busy, seconds, memory, **_parallel(roofline, gpus))


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
        needed = load.rate * load.osl * step / (batch * roofline.assumed["decode_load"])
        if needed <= _MOST_REPLICAS and (best is None or math.ceil(needed) < best.replicas):
            best = Aggregated(gpus, math.ceil(needed), batch, int(chunk), ttft, step)
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
