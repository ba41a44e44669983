"""One description of how a rank keeps KV cache in memory, for any engine: what is there, and where.

A rank's cache is one region of memory: an array over the axes `layer`, `kv`, `block`, `head`, `token` and
`dim` in the engine's order. `kv` counts K and V; an MLA latent is neither, and its axis has the length 1.
Where tensor parallelism shares the heads, a rank holds its own; a latent is whole on every rank.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from disagg_worker.layers import Layers

Axis = Literal["layer", "kv", "block", "head", "token", "dim"]
AXES: frozenset[str] = frozenset(get_args(Axis))
ITEM_BYTES: Mapping[str, int] = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8_e4m3": 1,
    "float8_e5m2": 1,
    "int8": 1,
}


class LayoutMismatch(ValueError):  # noqa: N818 - reads as what happened
    """The cache of one rank is no cache for another."""


@dataclass(frozen=True)
class CacheLayout:
    """How one rank keeps KV cache.

    Attributes:
        layers: Layers of the whole model.
        kv_heads: Key/value heads of the whole model; 1 for a latent.
        head_dim: Elements per head and position; of a latent all that is kept of a position.
        block_tokens: Positions per block.
        dtype: Type of the elements, one of `ITEM_BYTES`.
        blocks: Blocks in the region.
        axes: Axes from the outermost to the innermost, which is `dim`.
        latent: Whether this is an MLA latent instead of K and V.
        tp_rank: This rank among those that share the heads.
        tp_size: How many these are.
        held: The layers of this rank, where pipeline parallelism shares them; None for all.

    Raises:
        ValueError: These values make no cache; the text names the field.
    """

    layers: int
    kv_heads: int
    head_dim: int
    block_tokens: int
    dtype: str
    blocks: int
    axes: tuple[Axis, ...] = ("layer", "kv", "block", "head", "token", "dim")
    latent: bool = False
    tp_rank: int = 0
    tp_size: int = 1
    held: Layers | None = None

    def __post_init__(self) -> None:
        for field in ("layers", "kv_heads", "head_dim", "block_tokens", "blocks", "tp_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; write 1 or more")
        if self.dtype not in ITEM_BYTES:
            raise ValueError(f"dtype is {self.dtype}; write one of {', '.join(ITEM_BYTES)}")
        if len(self.axes) != len(AXES) or set(self.axes) != AXES or self.axes[-1] != "dim":
            raise ValueError(f"axes are {', '.join(self.axes)}; write each of {', '.join(get_args(Axis))} "
                             "once, dim last")  # fmt: skip
        if not 0 <= self.tp_rank < self.tp_size:
            raise ValueError(f"tp_rank is {self.tp_rank}; write one from 0 to {self.tp_size - 1}")
        if self.latent and self.kv_heads != 1:
            raise ValueError(f"kv_heads is {self.kv_heads}; a latent has 1")
        if not self.latent and self.kv_heads % self.tp_size and self.tp_size % self.kv_heads:
            raise ValueError(f"tp_size is {self.tp_size}; write a divisor or a multiple of the "
                             f"{self.kv_heads} kv_heads")  # fmt: skip
        if self.held and not 0 <= self.held.first < self.held.end <= self.layers:
            raise ValueError(f"held is layers {self.held.first} to {self.held.end - 1}; the model has "
                             f"{self.layers}")  # fmt: skip

    @cached_property
    def own_layers(self) -> Layers:
        """The layers of this rank."""
        return self.held or Layers(0, self.layers)

    @cached_property
    def own_heads(self) -> range:
        """The heads of this rank; with more ranks than heads, neighbours hold the same one."""
        if self.latent:
            return range(1)
        if self.tp_size > self.kv_heads:
            head = self.tp_rank * self.kv_heads // self.tp_size
            return range(head, head + 1)
        each = self.kv_heads // self.tp_size
        return range(self.tp_rank * each, (self.tp_rank + 1) * each)

    @property
    def item_bytes(self) -> int:
        """Bytes of an element."""
        return ITEM_BYTES[self.dtype]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of `axes` on this rank."""
        lengths = {
            "layer": self.own_layers.count,
            "kv": 1 if self.latent else 2,
            "block": self.blocks,
            "head": len(self.own_heads),
            "token": self.block_tokens,
            "dim": self.head_dim,
        }
        return tuple(lengths[axis] for axis in self.axes)

    @cached_property
    def strides(self) -> Mapping[Axis, int]:
        """Bytes from one element of an axis to the next."""
        inner = (math.prod(self.shape[at + 1 :]) for at in range(len(self.axes)))
        return {axis: self.item_bytes * step for axis, step in zip(self.axes, inner, strict=True)}

    def length(self, axis: Axis) -> int:
        """Length of an axis on this rank."""
        return self.shape[self.axes.index(axis)]

    @property
    def nbytes(self) -> int:
        """Bytes of the region."""
        return math.prod(self.shape) * self.item_bytes

    @property
    def token_bytes(self) -> int:
        """Bytes that this rank keeps of a position."""
        return self.nbytes // (self.blocks * self.block_tokens)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many positions."""
        return -(-tokens // self.block_tokens)


@dataclass(frozen=True)
class Share:
    """What a rank reads from another.

    Attributes:
        source: Number of the other in the list that was given.
        layers: Layers.
        heads: Heads, by their numbers in the whole model.
    """

    source: int
    layers: Layers
    heads: range


def require_same_cache(source: CacheLayout, target: CacheLayout) -> None:
    """Check that two ranks keep the same cache, however it is arranged and shared.

    Raises:
        LayoutMismatch: They do not; the text names the field and both values.
    """
    for field in ("dtype", "latent", "layers", "kv_heads", "head_dim"):
        theirs, mine = getattr(source, field), getattr(target, field)
        if theirs != mine:
            raise LayoutMismatch(
                f"{field} is {theirs} in the KV cache that is read and {mine} in the one it is read into; "
                "give both roles the same model and the same type of KV cache"
            )


def shares(sources: Sequence[CacheLayout], target: CacheLayout) -> list[Share]:
    """Choose from which ranks a rank reads what, each layer of each head from one.

    Where several ranks hold the same (a latent, or more ranks than heads), readers spread over them.

    Args:
        sources: All ranks of the other side.
        target: The rank that reads.

    Raises:
        LayoutMismatch: They keep another cache, or the ranks do not hold all of it.
    """
    found: list[Share] = []
    by_layers: dict[Layers, list[int]] = {}
    for number, source in enumerate(sources):
        require_same_cache(source, target)
        both = source.own_layers.shared(target.own_layers)
        if both.count:
            by_layers.setdefault(both, []).append(number)
    for both in sorted(by_layers, key=lambda layers: layers.first):
        owners: dict[int, list[int]] = {}
        for number in by_layers[both]:
            for head in sources[number].own_heads:
                owners.setdefault(head, []).append(number)
        chosen: dict[int, list[int]] = {}
        for head in target.own_heads:
            if head not in owners:
                raise LayoutMismatch(f"no rank holds head {head} of layers {both.first} to {both.end - 1}")
            same = owners[head]
            chosen.setdefault(same[target.tp_rank % len(same)], []).append(head)
        for number, heads in sorted(chosen.items()):
            found.append(Share(number, both, range(heads[0], heads[-1] + 1)))
    expected = target.own_layers
    ends = [expected.first, *(layers.end for layers in sorted(by_layers, key=lambda layers: layers.first))]
    begins = [*(layers.first for layers in sorted(by_layers, key=lambda layers: layers.first)), expected.end]
    if ends != begins:
        raise LayoutMismatch(f"the ranks do not hold layers {expected.first} to {expected.end - 1} once each")
    return found
