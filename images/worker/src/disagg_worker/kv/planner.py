"""From two layouts and two lists of blocks to what has to be copied where. Pure.

Every copy is the sum of two parts: a *unit*, a run of tokens within a block, and a *lane*, a run of elements
within a unit. Units follow from the block lists; lanes from the layouts alone, so they are planned once for
each pair of ranks. A segment is a unit of a lane, and all segments have one length, the longest that is
contiguous on both sides. That keeps a plan small (128k tokens of a 70B model are 1.3 million segments, but
8192 units and 160 lanes) and lets an index kernel compute addresses by itself.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from disagg_worker.kv.cache import Axis, CacheLayout, LayoutMismatch, Share, require_same_cache
from disagg_worker.layers import Layers

Offsets = NDArray[np.int64]
ROW_BYTES = 65536
"""Longest row: an index kernel copies rows side by side, and needs enough of them."""


class Segments(NamedTuple):
    """Contiguous pieces: byte offsets in both regions, and lengths in bytes."""

    source: Offsets
    target: Offsets
    length: Offsets


@dataclass(frozen=True)
class Lanes:
    """What is copied of each unit between two ranks.

    Attributes:
        source: Byte offsets within a unit of the source.
        target: The same of the target.
        length: Bytes of each.
        layers: The last layer of each lane; never decreasing.
        unit_tokens: Positions of a unit.
        row_bytes: Largest size that divides every offset and `length`: what an index can count in.
    """

    source: Offsets
    target: Offsets
    length: int
    layers: Offsets
    unit_tokens: int
    row_bytes: int

    @property
    def unit_bytes(self) -> int:
        """Bytes that are copied of a unit."""
        return len(self.source) * self.length

    def nbytes(self, tokens: int) -> int:
        """Bytes that are copied of so many positions, the rest of the last unit included."""
        return -(-tokens // self.unit_tokens) * self.unit_bytes


@dataclass(frozen=True)
class Plan:
    """All that one rank copies from another for one prompt.

    Attributes:
        lanes: Of each unit.
        unit_source: Byte offsets of the units in the source's region.
        unit_target: The same in the target's.
    """

    lanes: Lanes
    unit_source: Offsets
    unit_target: Offsets

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.unit_source)

    @property
    def nbytes(self) -> int:
        """Bytes to copy."""
        return self.units * self.lanes.unit_bytes

    @property
    def rows(self) -> int:
        """Rows to copy, in the order lane, unit, part of the segment."""
        return self.nbytes // self.lanes.row_bytes

    def rows_until(self, layer: int) -> int:
        """Rows that belong to layers before `layer`: those that can be copied when it is computed next."""
        lanes = int(np.searchsorted(self.lanes.layers, layer))
        return lanes * self.units * self.lanes.length // self.lanes.row_bytes

    @property
    def most_segments(self) -> int:
        """How many `segments` there are, found by looking at the units alone; never too few.

        Neighbours of different lanes may merge, too, which only whole regions do.
        """
        order = np.argsort(self.unit_target)
        length = self.lanes.length
        broken = (np.diff(self.unit_source[order]) != length) | (np.diff(self.unit_target[order]) != length)
        return (1 + int(np.count_nonzero(broken))) * len(self.lanes.source)

    def segments(self) -> Segments:
        """Merge what is adjacent on both sides: the fewest contiguous pieces, in the target's order."""
        source = np.add.outer(self.lanes.source, self.unit_source).ravel()
        target = np.add.outer(self.lanes.target, self.unit_target).ravel()
        order = np.argsort(target)
        source, target = source[order], target[order]
        length = self.lanes.length
        begins = np.ones(len(target), dtype=bool)
        begins[1:] = (np.diff(source) != length) | (np.diff(target) != length)
        at = np.flatnonzero(begins)
        return Segments(source[at], target[at], np.diff(at, append=len(target)) * length)


def plan(
    source: CacheLayout,
    target: CacheLayout,
    source_blocks: Sequence[int],
    target_blocks: Sequence[int],
    *,
    tokens: int,
    share: Share | None = None,
) -> Plan:
    """Plan the copy of a prompt's KV cache from one rank to another.

    Args:
        source: Where it is.
        target: Where it shall be.
        source_blocks: Blocks there, in the order of the positions.
        target_blocks: Blocks here, likewise.
        tokens: Positions to copy; the rest of the last unit comes along.
        share: Layers and heads to copy; all that both hold if left out.

    Raises:
        LayoutMismatch: The ranks keep another cache.
        ValueError: The blocks do not hold that many tokens, or lie outside of the region.
    """
    if share is None:
        heads = _common(source.own_heads, target.own_heads)
        share = Share(0, source.own_layers.shared(target.own_layers), heads)
    lanes = lanes_of(source, target, share)
    starts = np.arange(0, tokens, lanes.unit_tokens, dtype=np.int64)
    return Plan(
        lanes,
        _units(source, source_blocks, starts, tokens, "source_blocks"),
        _units(target, target_blocks, starts, tokens, "target_blocks"),
    )


def _common(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def _units(layout: CacheLayout, blocks: Sequence[int], starts: Offsets, tokens: int, name: str) -> Offsets:
    if isinstance(blocks, range):
        numbers = np.arange(blocks.start, blocks.stop, blocks.step, dtype=np.int64)
    else:
        numbers = np.array(blocks, dtype=np.int64)
    if len(numbers) < layout.blocks_for(tokens):
        raise ValueError(
            f"{name} has {len(numbers)} blocks; {tokens} tokens need {layout.blocks_for(tokens)}"
        )
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= layout.blocks):
        raise ValueError(f"{name} names a block outside of 0 to {layout.blocks - 1}")
    at, within = np.divmod(starts, layout.block_tokens)
    offsets: Offsets = numbers[at] * layout.strides["block"] + within * layout.strides["token"]
    return offsets


@lru_cache(maxsize=256)
def lanes_of(source: CacheLayout, target: CacheLayout, share: Share) -> Lanes:
    """Plan what is copied of each unit.

    Raises:
        LayoutMismatch: The ranks keep another cache.
    """
    require_same_cache(source, target)
    layers, heads = share.layers, share.heads
    for side in (source, target):
        _require_held(side, share)
    unit_tokens = math.gcd(source.block_tokens, target.block_tokens)
    counts: dict[Axis, int] = {
        "layer": layers.count,
        "kv": source.length("kv"),
        "head": len(heads),
        "token": unit_tokens,
    }
    length = source.head_dim * source.item_bytes
    counts = {axis: count for axis, count in counts.items() if count != 1}
    while grown := next(
        (a for a in counts if source.strides[a] == target.strides[a] == length and counts[a]), None
    ):
        length *= counts.pop(grown)
    # Lanes follow each other layer by layer, so that what is computed first can leave first.
    order = sorted(counts, key=lambda axis: (axis != "layer", -source.strides[axis]))
    first = {side: _first(layout, layers, heads) for side, layout in (("s", source), ("t", target))}
    steps = list(itertools.product(*(range(counts[axis]) for axis in order)))
    grid = np.array(steps, dtype=np.int64).reshape(len(steps), len(order))
    from_, to = (
        first[side] + grid @ np.array([layout.strides[axis] for axis in order], dtype=np.int64)
        for side, layout in (("s", source), ("t", target))
    )
    by_layer = grid[:, 0] + layers.first if "layer" in order else np.full(len(grid), layers.end - 1)
    row = math.gcd(
        ROW_BYTES, length, *(int(np.gcd.reduce(side)) for side in (from_, to)),
        *(layout.strides["block"] for layout in (source, target)),
        *(layout.strides["token"] * unit_tokens for layout in (source, target)
          if layout.block_tokens != unit_tokens),
    )  # fmt: skip
    return Lanes(from_, to, length, by_layer, unit_tokens, row)


def _require_held(layout: CacheLayout, share: Share) -> None:
    own_layers, own_heads = layout.own_layers, layout.own_heads
    if not own_layers.first <= share.layers.first < share.layers.end <= own_layers.end:
        raise LayoutMismatch(
            f"layers {share.layers.first} to {share.layers.end - 1} are to be read, and a rank holds "
            f"{own_layers.first} to {own_layers.end - 1}"
        )
    if not own_heads.start <= share.heads.start < share.heads.stop <= own_heads.stop:
        raise LayoutMismatch(
            f"heads {share.heads.start} to {share.heads.stop - 1} are to be read, and a rank holds "
            f"{own_heads.start} to {own_heads.stop - 1}"
        )


def _first(layout: CacheLayout, layers: Layers, heads: range) -> int:
    """Where the first common layer and head begin in a region."""
    return (layers.first - layout.own_layers.first) * layout.strides["layer"] + (
        heads.start - layout.own_heads.start
    ) * layout.strides["head"]
