"""The asyncio side of a request: where its events arrive, and the iterator over its tokens."""

import asyncio
from collections.abc import Callable
from typing import Self

from disagg_worker.engine.request import Event
from disagg_worker.engine.types import Prefilled, TokenOutput
from disagg_worker.kv import KVLease


def release_event(event: Event) -> None:
    """Release the blocks in an event that nobody will receive."""
    if isinstance(event, Prefilled):
        event.lease.release()
    elif isinstance(event, KVLease):
        event.release()


class Channel:
    """Events of one request, put and taken in the event loop's thread.

    Args:
        abandon: Called once when the receiver stops listening, whether or not the request had ended.
    """

    def __init__(self, abandon: Callable[[], None]) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._abandon = abandon
        self._closed = False

    def put(self, event: Event) -> None:
        """Deliver an event; blocks in it are released when nobody listens any more."""
        if self._closed:
            release_event(event)
        else:
            self._events.put_nowait(event)

    async def take(self) -> Event:
        """Wait for the next event; raises it when it is an exception. Being cancelled closes the channel."""
        try:
            event = await self._events.get()
        except BaseException:
            self.close()
            raise
        if isinstance(event, Exception):
            self.close()
            raise event
        return event

    def close(self) -> None:
        """Stop listening."""
        if not self._closed:
            self._closed = True
            while not self._events.empty():
                release_event(self._events.get_nowait())
            self._abandon()


class TokenStream:
    """The generated tokens of one request, as an asynchronous iterator.

    Dropping it, closing it, or cancelling the task that waits for it cancels the request.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TokenOutput:
        if self._ended:
            raise StopAsyncIteration
        try:
            event = await self._channel.take()
        except BaseException:
            self._ended = True
            raise
        if not isinstance(event, TokenOutput):
            raise TypeError(f"a token stream received {event!r}")
        if event.finish_reason is not None:
            await self.aclose()
        return event

    async def aclose(self) -> None:
        """End the stream; the request is cancelled if it still runs."""
        self._ended = True
        self._channel.close()

    def __del__(self) -> None:
        self._channel.close()
