"""What one pass through the model's layers computes: values that may travel to other ranks."""

from dataclasses import dataclass

from disagg_worker.engine.types import SamplingParams
from disagg_worker.model.segment import Segment


@dataclass(frozen=True)
class Pick:
    """A token to choose from the logits of one row of hidden states.

    Attributes:
        row: The row.
        params: How the token is chosen.
        draw: The request's seed and the number of tokens generated so far.
        banned: Tokens that must not be chosen.
    """

    row: int
    params: SamplingParams
    draw: tuple[int, int]
    banned: frozenset[int]


@dataclass(frozen=True)
class Pass:
    """Positions to compute.

    Attributes:
        prompt: Whether they are one chunk of one prompt; otherwise one position of each sequence.
        segments: The positions.
        picks: The tokens that are chosen after them.
    """

    prompt: bool
    segments: tuple[Segment, ...]
    picks: tuple[Pick, ...]
