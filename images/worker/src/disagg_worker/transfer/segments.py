"""Block lists to transfer descriptors: neighbours on both sides become one.

Each descriptor costs microseconds on every fabric, whatever its size, so fewer and longer ones are faster.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from disagg_worker.layers import Layers


class Segment(NamedTuple):
    """A run of blocks that is contiguous in the reader's pool and in the owner's."""

    local: int
    remote: int
    blocks: int


class Span(NamedTuple):
    """The same in memory: two addresses and a length in bytes."""

    local: int
    remote: int
    length: int


@dataclass(frozen=True)
class Holding:
    """A rank's pool.

    Attributes:
        base: Where it begins in memory.
        layers: The layers of which it holds KV: of each block those, one after the other.
    """

    base: int
    layers: Layers

    def address(self, block: int, layer: int, layer_bytes: int) -> int:
        """Where a layer of a block begins; `layer_bytes` is the size of each."""
        return self.base + (block * self.layers.count + layer - self.layers.first) * layer_bytes


def coalesce(local: Sequence[int], remote: Sequence[int]) -> list[Segment]:
    """Pair block numbers and merge pairs that are adjacent on both sides.

    Args:
        local: Blocks to read into; `local[i]` receives `remote[i]`.
        remote: Blocks to read from, as many.

    Returns:
        Segments in the order of the local blocks; together they cover every pair once.

    Raises:
        ValueError: The two lists differ in length.
    """
    segments: list[Segment] = []
    for near, far in sorted(zip(local, remote, strict=True)):
        last = segments[-1] if segments else None
        if last and near == last.local + last.blocks and far == last.remote + last.blocks:
            segments[-1] = last._replace(blocks=last.blocks + 1)
        else:
            segments.append(Segment(near, far, 1))
    return segments


def spans(segments: Iterable[Segment], near: Holding, far: Holding, layer_bytes: int) -> list[Span]:
    """Turn block numbers into addresses, for the layers that both pools hold.

    Args:
        segments: Runs of blocks.
        near: The reader's pool.
        far: The owner's.
        layer_bytes: Bytes of one layer of one block.
    """
    shared = near.layers.shared(far.layers)
    # Whole blocks follow each other in memory; parts of blocks do not.
    runs = segments if near.layers == far.layers else _single(segments)
    return [
        Span(
            near.address(run.local, shared.first, layer_bytes),
            far.address(run.remote, shared.first, layer_bytes),
            run.blocks * shared.count * layer_bytes,
        )
        for run in runs
    ]


def _single(segments: Iterable[Segment]) -> Iterator[Segment]:
    for local, remote, blocks in segments:
        yield from (Segment(local + step, remote + step, 1) for step in range(blocks))
