"""Which of a model's layers a rank holds: consecutive ones, in the order of the ranks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layers:
    """Consecutive layers of a model, from `first` on, before `end`."""

    first: int
    end: int

    @property
    def count(self) -> int:
        """How many these are; 0 for none."""
        return max(0, self.end - self.first)

    def shared(self, other: "Layers") -> "Layers":
        """The layers that are among the others as well, which may be none."""
        return Layers(max(self.first, other.first), min(self.end, other.end))


@dataclass(frozen=True)
class Place:
    """A rank among the ranks that share one model by layers (pipeline parallelism).

    Attributes:
        rank: 0 holds the embedding, the last one the head.
        ranks: How many there are.
    """

    rank: int = 0
    ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether hidden states begin here."""
        return self.rank == 0

    @property
    def is_last(self) -> bool:
        """Whether tokens are chosen here."""
        return self.rank == self.ranks - 1

    def layers(self, total: int) -> Layers:
        """The layers of this rank out of `total`, at least as many: the first ranks hold one more of a rest.

        The last rank has the head to compute, which weighs more than a layer.
        """
        each, more = divmod(total, self.ranks)
        first = self.rank * each + min(self.rank, more)
        return Layers(first, first + each + (self.rank < more))


ALONE = Place()
