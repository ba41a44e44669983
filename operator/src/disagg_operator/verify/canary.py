"""What is known of a canary: a request of known length, whose KV cache must move."""

from dataclasses import dataclass

from disagg_operator.verify.rate import Sample


@dataclass(frozen=True)
class Answer:
    """What the frontend answered to a canary.

    Attributes:
        text: the text, or None where there is none.
        error: why not, as a sentence.
    """

    text: str | None = None
    error: str = ""


@dataclass(frozen=True)
class Canary:
    """A request of known length, sent twice.

    Attributes:
        tokens: tokens of its prompt, as the answer counts them.
        expected_bytes: bytes of KV cache of these tokens, or None where that is not known.
        first: answer of the request that the window is about.
        again: answer of the same prompt once more.
        seconds: time from the request to the end of its answer, in which the transfer took place.
        samples: evidence of decode pods that was read meanwhile, if any.
        shared: whether workers of another revision answer requests as well, so that it may have missed.
    """

    tokens: int = 0
    expected_bytes: float | None = None
    first: Answer = Answer()
    again: Answer = Answer()
    seconds: float = 0.0
    samples: tuple[Sample, ...] = ()
    shared: bool = False
