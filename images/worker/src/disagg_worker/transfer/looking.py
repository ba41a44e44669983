"""Looks at what one side's agent has to tell: each moves data, and each is shared by all that wait.

A look runs in the agent's thread, for as long as it brings nothing, but not so long that others wait for the
thread. While something moves it looks again at once; soon after the last move it lets the processor go.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from enum import Enum

from disagg_worker.transfer.agent import AgentThread
from disagg_worker.transfer.errors import TransferError

SLICE_SECONDS = 0.004
EAGER_SECONDS = 0.001
STEP_SECONDS = 0.0001
IDLE_SECONDS = 0.5

log = logging.getLogger(__name__)


class Found(Enum):
    """What a look has found; what is news ends it."""

    NOTHING = 0
    MOVES = 1
    NEWS = 2


class Looking:
    """The looks of one side.

    Args:
        thread: The agent's.
        look: Looks once, in that thread.
    """

    def __init__(self, thread: AgentThread, look: Callable[[], Found]) -> None:
        self._thread, self._look = thread, look
        self._turn: asyncio.Future[None] | None = None
        self._awake = asyncio.Event()
        self._closed = False
        self._attendant: asyncio.Task[None] | None = None

    async def turn(self) -> None:
        """Wait for a look that is under way, or make one."""
        if self._turn is None or self._turn.done():
            self._turn = asyncio.ensure_future(self._thread.call(self._closely))
        try:
            await asyncio.shield(self._turn)
        except TransferError as error:
            log.warning("notes cannot be received: %s", error)
            await asyncio.sleep(IDLE_SECONDS)

    def attend(self, is_busy: Callable[[], bool], after: Callable[[], None] = lambda: None) -> None:
        """Look from now on: closely while there is something to expect, else now and then.

        Args:
            is_busy: Whether there is; `wake` has it asked again at once.
            after: Called after each look.
        """
        if self._attendant is None:
            self._attendant = asyncio.create_task(self._attend(is_busy, after), name="kv-looks")

    def wake(self) -> None:
        """Look closely, if there is something to expect now."""
        self._awake.set()

    async def _attend(self, is_busy: Callable[[], bool], after: Callable[[], None]) -> None:
        while not self._closed:
            self._awake.clear()
            busy = is_busy()
            try:
                await (self.turn() if busy else self._thread.call(self._look))
            except TransferError as error:
                log.warning("notes cannot be received: %s", error)
            after()
            if not busy:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._awake.wait(), IDLE_SECONDS)

    def _closely(self) -> None:
        """Look until there are news, for `SLICE_SECONDS` at most."""
        begun = moved = time.monotonic()
        while (found := self._look()) is not Found.NEWS:
            now = time.monotonic()
            moved = now if found is Found.MOVES else moved
            if now - begun > SLICE_SECONDS:
                return
            time.sleep(0 if now - moved < EAGER_SECONDS else STEP_SECONDS)

    async def close(self) -> None:
        """Look no more."""
        self._closed = True  # asyncio.wait_for of Python 3.11 may swallow a cancellation
        if self._attendant:
            self._attendant.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._attendant
