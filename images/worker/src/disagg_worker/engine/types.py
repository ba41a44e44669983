"""What goes into the engine and what comes out of it."""

from dataclasses import dataclass
from typing import Literal

from disagg_worker.kv import KVLease

FinishReason = Literal["stop", "length", "cancelled"]


class EngineError(Exception):
    """A request did not run to its end; the text is meant for the person who sent it."""


class RequestRefused(EngineError):  # noqa: N818 - the request is at fault, not the engine
    """The request can never run here (too long, empty, unknown token ids, an id in use)."""


class EngineOverloaded(EngineError):  # noqa: N818 - a state of the engine
    """Too many requests wait already."""


class EngineStopped(EngineError):  # noqa: N818 - a state of the engine
    """The engine does not take requests: not started, stopped, or its compute loop failed."""


class RequestCancelled(EngineError):  # noqa: N818 - an end, not a fault
    """The request was cancelled before it had a result."""


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen and when generation ends.

    Attributes:
        max_tokens: Tokens to generate at most (>= 1), the first one included; cut to the context.
        temperature: 0 takes the likeliest token; above 0 divides the logits.
        top_p: Nucleus: the likeliest tokens whose probabilities reach this sum (0 < top_p <= 1).
        top_k: The k likeliest tokens only; 0 means all.
        seed: Same seed, prompt and parameters: same tokens, whatever else runs. None draws one.
        stop_token_ids: Generation ends with any of these; it is the last token given out.
        min_tokens: No end-of-text and no stop token is chosen before so many tokens.
        ignore_eos: The model's own end-of-text token does not end generation.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop_token_ids: frozenset[int] = frozenset()
    min_tokens: int = 0
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        checks = (
            (self.max_tokens >= 1, "max_tokens", "at least 1"),
            (self.temperature >= 0, "temperature", "0 or more"),
            (0 < self.top_p <= 1, "top_p", "above 0 and at most 1"),
            (self.top_k >= 0, "top_k", "0 (all) or more"),
            (self.min_tokens >= 0, "min_tokens", "0 or more"),
        )
        for valid, field, range_text in checks:
            if not valid:
                raise RequestRefused(f"{field}: must be {range_text}; got {getattr(self, field)}")


@dataclass(frozen=True)
class TokenOutput:
    """One generated token.

    Attributes:
        token: Token id; None only in the last output of a cancelled request.
        finish_reason: None while generation goes on; set in the last output.
    """

    token: int | None
    finish_reason: FinishReason | None


@dataclass(frozen=True)
class Prefilled:
    """A computed prompt.

    Attributes:
        first_token: The token that follows the prompt.
        lease: The prompt's KV blocks, held until the owner of this object releases them.
    """

    first_token: int
    lease: KVLease


@dataclass(frozen=True)
class EngineStats:
    """Counters and gauges of the engine, for metrics.

    Attributes:
        running: Sequences that are being computed.
        waiting: Sequences that wait for blocks or for a place in the batch.
        prompt_tokens: Prompt tokens computed since the start.
        generated_tokens: Tokens given out since the start.
        preemptions: Sequences that lost their blocks to an older one and were computed again.
        reused_tokens: Prompt tokens that needed no computing, for they were in blocks already.
    """

    running: int
    waiting: int
    prompt_tokens: int
    generated_tokens: int
    preemptions: int
    reused_tokens: int
