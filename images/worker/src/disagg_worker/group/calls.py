"""Calls from the leader to a follower, and a word from it, as lines of JSON on an asyncio stream.

Calls run at once and end in any order. Errors of transfers keep their kind; other errors are bugs.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from disagg_worker.transfer.errors import TransferError

_LONGEST_LINE = 16 << 20
_KINDS: dict[str, type[TransferError]] = {kind.outcome: kind for kind in TransferError.__subclasses__()}

log = logging.getLogger(__name__)

Serve = Callable[[str, Any], Awaitable[Any]]


class Line:
    """One end of a connection; either end may say and hear documents.

    Args:
        connection: A connected socket, the line's own from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def open(self) -> None:
        """Begin to use the connection, in the running event loop."""
        self._connection.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=self._connection, limit=_LONGEST_LINE)

    def say(self, document: dict[str, Any]) -> None:
        """Send a document; what cannot be sent any more is dropped: `hear` tells that the line ended."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(document).encode() + b"\n")

    async def hear(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Pass on what comes until the connection ends."""
        with contextlib.suppress(OSError):
            while line := await self._reader.readline():
                take(json.loads(line))

    async def close(self) -> None:
        """Send what was said, and close."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Caller:
    """The leader's end.

    Args:
        connection: To the follower.
        on_word: Called with what the follower says of itself.

    Attributes:
        line: The connection; opened before calls are made.
    """

    def __init__(self, connection: socket.socket, on_word: Callable[[str], None]) -> None:
        self.line = Line(connection)
        self._on_word = on_word
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def call(self, method: str, body: Any = None) -> Any:
        """Have the follower do something; returns when that is done, with what it answers.

        Raises:
            TransferError: It could not be done.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.line.say({"call": number, "method": method, "body": body})
        try:
            return await answer
        finally:
            del self._waiting[number]

    def tell(self, method: str, body: Any = None) -> None:
        """Have the follower do something without waiting for it."""
        self.line.say({"call": None, "method": method, "body": body})

    async def hear(self) -> None:
        """Take answers in until the connection ends."""
        await self.line.hear(self._take)

    def _take(self, document: dict[str, Any]) -> None:
        if "word" in document:
            self._on_word(document["word"])
            return
        answer = self._waiting.get(document["answer"])
        if answer is None or answer.done():
            return
        if document["fault"] is None:
            answer.set_result(document["result"])
        else:
            kind = _KINDS.get(document["outcome"], TransferError)
            answer.set_exception(kind(document["fault"]))


class Answerer:
    """The follower's end.

    Args:
        connection: To the leader.
        serve: Does what a method asks for, given its name and body, and returns the answer, of JSON; raises
            TransferError.

    Attributes:
        line: The connection; opened before it hears.
    """

    def __init__(self, connection: socket.socket, serve: Serve) -> None:
        self.line = Line(connection)
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, word: str) -> None:
        """Tell the leader something of this rank."""
        self.line.say({"word": word})

    async def hear(self) -> None:
        """Do what is asked until the connection ends."""
        await self.line.hear(self._take)

    def _take(self, document: dict[str, Any]) -> None:
        task = asyncio.create_task(self._answer(**document))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: int | None, method: str, body: Any) -> None:
        fault = outcome = result = None
        try:
            result = await self._serve(method, body)
        except TransferError as error:
            fault, outcome = str(error), error.outcome
        except Exception as error:
            log.exception("%s failed", method)
            fault, outcome = f"a rank failed: {error}", "error"
        if call is not None:
            self.line.say({"answer": call, "result": result, "fault": fault, "outcome": outcome})
