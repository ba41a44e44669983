"""Block lists to transfer descriptors: neighbours on both sides become one.

Each descriptor costs microseconds on every fabric, whatever its size, so fewer and longer ones are faster.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


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


def spans(segments: Iterable[Segment], local_base: int, remote_base: int, block_bytes: int) -> list[Span]:
    """Turn block numbers into addresses, given where both pools begin."""
    return [
        Span(
            local_base + segment.local * block_bytes,
            remote_base + segment.remote * block_bytes,
            segment.blocks * block_bytes,
        )
        for segment in segments
    ]
