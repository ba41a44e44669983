"""An answer that is streamed: server-sent events, the text in them, and how fast they came. Pure."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.api.wording import counted

_DONE = "[DONE]"
_TOO_LONG = "length"
"""Why a model stopped that had more to say."""
_LONGEST = 1 << 20
"""Bytes of one event. What is longer is no answer of a frontend."""

_MOST = 1 << 53
"""Tokens. What is more is no count."""


class Events:
    """Finds the events of a stream, wherever it is cut into pieces."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """Yield the data of each event that a piece completes.

        Raises:
            ValueError: this is no stream of events.
        """
        *lines, self._left = (self._left + piece).split(b"\n")
        if len(self._left) > _LONGEST:
            raise ValueError("an event of the answer is too long")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode(errors="replace")


@dataclass
class Answer:
    """What came of an answer so far.

    Attributes:
        clock: a time in seconds.
        began: when the request was sent.
        text: the answer.
        chunks: events that had text.
        first: when the first text came, or None before.
        last: when the last text came.
        finish: why the model stopped, or nothing.
        ended: whether the frontend said that this is all.
        usage: tokens as the frontend counted them, where it did.
    """

    clock: Callable[[], float]
    began: float
    text: str = ""
    chunks: int = 0
    first: float | None = None
    last: float | None = None
    finish: str = ""
    ended: bool = False
    usage: dict[str, int] = field(default_factory=dict)

    def take(self, data: str) -> str:
        """Take the data of an event, and return the text in it.

        Raises:
            ValueError: the frontend tells an error, or no chat completion.
        """
        if data == _DONE:
            self.ended = True
            return ""
        found = parsed(data)
        if not isinstance(found, dict):
            raise _not_a_completion(data)
        if found.get("error"):
            raise ValueError(error_text(found))
        text = ""
        try:
            self.usage = _usage(found) or self.usage
            for choice in found.get("choices") or []:
                delta = choice.get("delta") or {}
                # Models that reason tell their thoughts apart from the answer: tokens, too.
                text += (delta.get("reasoning_content") or "") + (delta.get("content") or "")
                self.finish = choice.get("finish_reason") or self.finish
        except (AttributeError, TypeError):
            raise _not_a_completion(data) from None
        self.ended = self.ended or bool(self.finish)
        # JSON may hold halves of characters, which no output can write.
        text = text.encode(errors="replace").decode()
        if text:
            self.last = self.clock()
            self.first = self.last if self.first is None else self.first
            self.text, self.chunks = self.text + text, self.chunks + 1
        return text

    def document(self) -> dict[str, Any]:
        """Return it for programs; times in seconds."""
        tokens = self.usage.get("completion_tokens")
        return {
            "text": self.text,
            "finishReason": self.finish or None,
            "ttftSeconds": None if self.first is None else round(self.first - self.began, 4),
            "seconds": None if self.last is None else round(self.last - self.began, 4),
            "promptTokens": self.usage.get("prompt_tokens"),
            "tokens": tokens,
            "chunks": self.chunks,
            "tokensPerSecond": self._rate(self.chunks if tokens is None else tokens),
        }

    def _rate(self, tokens: int) -> float | None:
        """Return tokens a second after the first: those before it are the time to the first token's."""
        after = tokens - 1
        if self.first is None or self.last is None or after < 1 or self.last <= self.first:
            return None
        return round(after / (self.last - self.first), 2)


def summary(told: dict[str, Any], most: int) -> str:
    """Return how fast an answer came, and whether it is whole, as a line for people.

    Args:
        told: the answer's document.
        most: the tokens that it could have.
    """
    cut = f"cut at --max-tokens {most}" if told["finishReason"] == _TOO_LONG else ""
    return ", ".join(part for part in (_pace(told), cut) if part)


def _pace(told: dict[str, Any]) -> str:
    if told["ttftSeconds"] is None:
        return "the answer has no text"
    by_token = told["tokens"] is not None
    pieces = f"{counted(told['chunks'], 'piece')} (tokens were not counted)"
    count = counted(told["tokens"], "token") if by_token else pieces
    unit = "tokens/s" if by_token else "pieces/s"
    rate = f", {told['tokensPerSecond']:.1f} {unit} after the first" if told["tokensPerSecond"] else ""
    prompt = (
        f", prompt of {counted(told['promptTokens'], 'token')}" if told["promptTokens"] is not None else ""
    )
    return f"TTFT {told['ttftSeconds']:.3f} s, {count} in {told['seconds']:.3f} s{rate}{prompt}"


def parsed(data: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def _usage(found: dict[str, Any]) -> dict[str, int]:
    """Return the tokens that were counted; what is no number is not counted."""
    counts = found.get("usage") or {}
    return {key: count for key, count in counts.items() if isinstance(count, int) and 0 <= count < _MOST}


def _not_a_completion(data: str) -> ValueError:
    return ValueError(f"this is no chat completion: {data[:100]}")


def error_text(found: dict[str, Any]) -> str:
    """Return the message of an error in one of the forms that frontends use."""
    error = found.get("error")
    if isinstance(error, dict):
        error = error.get("message")
    return str(error or found.get("message") or found)[:500]
