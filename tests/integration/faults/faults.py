"""What can be done to a request on its way to the API server and back. TEST TOOL.

A fault is a function of an `Exchange`, which can pass the request on, answer it, or break its connection.
Those that say `after` let the API server do what it is asked for first.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from integration.faults.requests import Call

REASONS = {
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Exchange(Protocol):
    """One request and what can be done with it."""

    call: Call

    async def forward(self) -> None:
        """Pass it on, unless that was done, and wait for the answer; of a watch, for its beginning."""
        ...

    async def answer(self) -> None:
        """Give the client what the API server answered; passes the request on first where needed."""
        ...

    async def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        """Give the client another answer."""
        ...

    async def filter(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Give the client those events of a watch that are wanted."""
        ...

    def reset(self) -> None:
        """Break the connection to the client, at once and with an RST."""
        ...

    @property
    def received(self) -> bytes:
        """What the API server answered, once it has."""
        ...


Fault = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    """Answers with an error of the API server.

    Attributes:
        code: HTTP status.
        retry_after: seconds of the header Retry-After, or None for no such header.
        after: whether the API server does what it was asked for all the same.
    """

    code: int
    retry_after: int | None = None
    after: bool = False

    async def __call__(self, exchange: Exchange) -> None:
        if self.after:
            await exchange.forward()
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": REASONS.get(self.code, "Unknown"),
            "message": f"a fault that a test put here: {self.code}",
            "code": self.code,
        }
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        await exchange.reply(self.code, json.dumps(status).encode(), headers)


@dataclass(frozen=True)
class Reset:
    """Breaks the connection: before the request was passed on, or after the API server did it."""

    after: bool = False

    async def __call__(self, exchange: Exchange) -> None:
        if self.after:
            await exchange.forward()
        exchange.reset()


@dataclass(frozen=True)
class Stall:
    """Waits for some seconds before the request is passed on, or before its answer is."""

    seconds: float
    after: bool = False

    async def __call__(self, exchange: Exchange) -> None:
        if self.after:
            await exchange.forward()
        await asyncio.sleep(self.seconds)
        await exchange.answer()


class Hold:
    """Holds requests, or their answers, until told; then they go on, unless their client has left.

    Attributes:
        held: how many it has held so far.
    """

    def __init__(self, *, after: bool = False) -> None:
        """Hold.

        Args:
            after: whether the API server does what it is asked for before.
        """
        self._after, self.held = after, 0
        # Of a thread, not of an event loop: the test sets it.
        self._free = threading.Event()

    def release(self) -> None:
        """Let them go, and all that come later."""
        self._free.set()

    async def __call__(self, exchange: Exchange) -> None:
        if self._after:
            await exchange.forward()
        self.held += 1
        while not self._free.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.02)
        await exchange.answer()


async def silence(exchange: Exchange) -> None:
    """Keep a watch open and say nothing in it."""
    await exchange.filter(lambda _: False)


async def expired(exchange: Exchange) -> None:
    """Tell a watch in its first event that its resource version is too old to go on from."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
    await exchange.reply(200, json.dumps({"type": "ERROR", "object": status}).encode() + b"\n", {})


@dataclass(frozen=True)
class Swallow:
    """Lets some events of a watch vanish, bookmarks never.

    Attributes:
        types: types of events, such as ``DELETED``.
        name: a part of the object's name.
    """

    types: Collection[str]
    name: str = ""

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.filter(
            lambda event: (
                event["type"] not in self.types or self.name not in event["object"]["metadata"]["name"]
            )
        )


class Recall:
    """Answers lists with what was answered to the same list when it was remembered: an old state."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}
        self.recalling = False

    async def __call__(self, exchange: Exchange) -> None:
        known = self._known.get(exchange.call.path)
        if self.recalling and known is not None:
            await exchange.reply(200, known, {})
            return
        await exchange.forward()
        self._known[exchange.call.path] = exchange.received
        await exchange.answer()
