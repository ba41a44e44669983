"""Sends the canary: an OpenAI request of known length that no cache can answer, with deterministic sampling.

Invariants: a frontend that refuses, breaks off or hangs becomes a sentence, never an exception; the prompt
begins with a fresh word, so that no block of it is in any prefix cache; the request can be told from those of
users by its header and its `user`; no redirect is followed, which would lead the operator anywhere.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

DEFAULT_TOKENS = 512
LEAST_TOKENS = 16
MOST_ANSWER_TOKENS = 16
HEADER = "x-disagg-canary"
USER = "disagg-canary"
_LARGEST = 1 << 20
_OK, _BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE = 200, 400, 413, 422
_NO_SUCH_PATH = {404, 405, 501}
_WORDS = (
    *("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school"),
    *("state", "family", "student", "group", "country", "hand", "part", "place", "case", "week", "company"),
    *("system", "program", "question", "work", "government", "number", "night", "point", "home", "water"),
    *("room", "mother", "area", "money", "story", "fact", "month", "lot", "right", "study", "book", "eye"),
)
"""Short and frequent, so that tokenizers take about one token for each."""


@dataclass(frozen=True)
class Prompt:
    """The text of a canary.

    Attributes:
        canary: its id.
        words: length in words.
    """

    canary: str
    words: int

    @property
    def text(self) -> str:
        """The same text each time; no two canaries share their first block."""
        body = " ".join(_WORDS[number % len(_WORDS)] for number in range(self.words))
        return f"{self.canary} {body}"


@dataclass(frozen=True)
class Reply:
    """What became of a canary.

    Attributes:
        text: the answer, or None where there is none.
        tokens: tokens of the prompt, as the frontend counts them.
        seconds: time from the request to the end of the answer.
        error: why there is no answer, as a sentence.
        too_long: whether the frontend said no to the prompt itself, which a shorter one may cure.
        unreachable: whether nobody answered at all.
    """

    text: str | None = None
    tokens: int = 0
    seconds: float = 0.0
    error: str = ""
    too_long: bool = False
    unreachable: bool = False


def fresh(tokens: int | None) -> Prompt:
    """Return a prompt that was never sent before.

    Args:
        tokens: about its length in tokens, or None for the default.
    """
    return Prompt(secrets.token_hex(8), max(tokens or DEFAULT_TOKENS, LEAST_TOKENS))


class CanaryClient:
    """Sends canaries to a frontend."""

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        """Make a client.

        Args:
            session: connections.
            seconds: time that an answer may take.
        """
        self._session, self._seconds = session, seconds

    async def ask(self, addresses: Sequence[str], model: str, prompt: Prompt) -> Reply:
        """Send a canary to the first address that can be reached.

        Args:
            addresses: URLs of frontends, without a path.
            model: name of the model.
            prompt: what to ask.
        """
        reply = Reply(error="no frontend is known", unreachable=True)
        for address in addresses:
            reply = await self._completion(address.rstrip("/"), model, prompt)
            if not reply.unreachable:
                break
        return reply

    async def _completion(self, address: str, model: str, prompt: Prompt) -> Reply:
        common = {
            "model": model,
            "max_tokens": MOST_ANSWER_TOKENS,
            "temperature": 0,
            "seed": 0,
            "user": USER,
            "stream": False,
        }
        status, reply = await self._post(
            f"{address}/v1/completions", prompt, {**common, "prompt": prompt.text}
        )
        if status not in _NO_SUCH_PATH:
            return reply
        chat = [{"role": "user", "content": prompt.text}]
        _, of_chat = await self._post(f"{address}/v1/chat/completions", prompt, {**common, "messages": chat})
        return of_chat

    async def _post(self, address: str, prompt: Prompt, body: Mapping[str, Any]) -> tuple[int, Reply]:
        clock = asyncio.get_running_loop().time
        since = clock()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._session.post(
                    address, json=body, headers={HEADER: prompt.canary}, allow_redirects=False
                ) as response,
            ):
                answer = await response.content.read(_LARGEST)
                while not response.content.at_eof() and len(answer) < _LARGEST:
                    answer += await response.content.read(_LARGEST - len(answer))
                status = response.status
        except TimeoutError:
            return 0, Reply(error=f"no answer within {self._seconds:g} s", seconds=clock() - since)
        except aiohttp.ClientConnectorError as error:
            return 0, Reply(error=f"{error}", unreachable=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, Reply(error=f"the answer broke off: {error or type(error).__name__}")
        return status, _reply(status, answer, clock() - since)


def _reply(status: int, body: bytes, seconds: float) -> Reply:
    text = body.decode(errors="replace")
    if status != _OK:
        said = " ".join(_said(text).split())[:200]
        too_long = status in {_BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE}
        return Reply(error=f"HTTP {status}: {said}", too_long=too_long, seconds=seconds)
    try:
        document = json.loads(text)
        choice = document["choices"][0]
        answer = choice["text"] if "text" in choice else choice["message"]["content"]
        tokens = int(document["usage"]["prompt_tokens"])
    except (ValueError, LookupError, TypeError) as error:
        return Reply(error=f"an answer without text and usage ({type(error).__name__})", seconds=seconds)
    return Reply(answer or "", tokens, seconds)


def _said(text: str) -> str:
    """Return what a refusal says, in OpenAI's form or another."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if not isinstance(document, dict):
        return text
    error = document.get("error", document.get("message", text))
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
