"""Which positions of a sequence a pass computes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """Consecutive positions of one sequence to compute.

    Attributes:
        tokens: Token ids at these positions.
        start: The first position; K and V of all before it are in the cache.
        blocks: The sequence's blocks, enough for the last position.
    """

    tokens: Sequence[int]
    start: int
    blocks: tuple[int, ...]

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + len(self.tokens)

    def used(self, block_tokens: int) -> tuple[int, ...]:
        """The blocks that hold K and V up to the end."""
        return self.blocks[: -(-self.end // block_tokens)]
