"""The other ranks as the leader has them: stages of its model, and memory that reads and is read."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from disagg_worker.engine.engine import Followers
from disagg_worker.engine.step import Pass
from disagg_worker.group import wire
from disagg_worker.group.calls import Caller
from disagg_worker.group.joining import Member
from disagg_worker.group.membership import Membership
from disagg_worker.model.spec import Array
from disagg_worker.transfer.fetcher import Order
from disagg_worker.transfer.ticket import Part

BYE, LEAVING = "bye", "leaving"
PASS = TypeAdapter(Pass)

log = logging.getLogger(__name__)


class RankLost(Exception):  # noqa: N818 - reads as what happened
    """A rank of the group is gone; the text names it."""


class RemoteStage:
    """A stage that another rank computes.

    Args:
        name: The rank, for people.
        connection: Its line for hidden states.
        step_seconds: How long it may say nothing while it computes.
        on_hang: Called with a sentence when it has.
    """

    def __init__(
        self, name: str, connection: socket.socket, step_seconds: float, on_hang: Callable[[str], None]
    ) -> None:
        self._name, self._connection = name, connection
        self._step_seconds, self._on_hang = step_seconds, on_hang
        connection.settimeout(step_seconds)

    def run(self, work: Pass, hidden: Array | None) -> Array:
        """See Stage; raises RankLost."""
        try:
            wire.send(self._connection, PASS.dump_json(work), hidden)
            _, result = wire.receive(self._connection)
        except TimeoutError:
            hangs = (
                f"{self._name} hangs: no part of a step in {self._step_seconds:g} s (compute.step_seconds)"
            )
            self._on_hang(hangs)
            raise RankLost(hangs) from None
        except OSError as error:
            raise RankLost(f"{self._name} is gone ({error})") from None
        # Tokens travel as a matrix of one row.
        return result[0] if result is not None and result.dtype.kind == "i" else result

    def close(self) -> None:
        """Close the line; nothing may run on it."""
        self._connection.close()


class Rank:
    """What a rank does beside computing: it reads blocks, and lets its own be read.

    Args:
        part: Its pool, as it described it.
        caller: Its line for calls.
    """

    def __init__(self, part: Part, caller: Caller) -> None:
        self.part = part
        self._caller = caller

    async def sums(self, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
        """See OtherOutlet."""
        return tuple(await self._caller.call("sums", {"blocks": list(blocks), "tokens": tokens}))

    async def opened(self, lease: str, blocks: Sequence[int], tokens: int) -> None:
        """See OtherOutlet."""
        await self._caller.call("open", {"lease": lease, "blocks": list(blocks), "tokens": tokens})

    def shut(self, lease: str) -> None:
        """See OtherOutlet."""
        self._caller.tell("shut", lease)

    async def fetch(self, order: Order) -> None:
        """See OtherFetcher."""
        await self._caller.call("fetch", order.model_dump(mode="json"))

    async def finished(self, lease: str) -> None:
        """See OtherFetcher."""
        await self._caller.call("finished", lease)


class Leader:
    """The group, at its first rank.

    Args:
        membership: Of this rank.
        members: The other ranks, all there, in their order.
        step_seconds: How long one may take for its part of a step.

    Attributes:
        followers: What they compute, for the engine.
        ranks: What else they do, for reading and offering.
        on_lost: Called once with a sentence when a rank is gone, or hangs.
        on_leaving: Called when a rank was asked to end, and waits until this one has.
    """

    def __init__(self, membership: Membership, members: Sequence[Member], step_seconds: float) -> None:
        self.on_lost: Callable[[str], None] = lambda _: None
        self.on_leaving: Callable[[], None] = lambda: None
        self._names = [f"rank {each.hello.rank} ({membership.host(each.hello.rank)})" for each in members]
        self._callers = [Caller(each.lines["control"], self._hear_word) for each in members]
        self._stages = tuple(
            RemoteStage(name, each.lines["compute"], step_seconds, self._hear_of_hang)
            for name, each in zip(self._names, members, strict=True)
        )
        digests = tuple(digest for each in members for digest in each.hello.digests)
        self.followers = Followers(self._stages, digests)
        self.ranks = [
            Rank(each.hello.part, caller)
            for each, caller in zip(members, self._callers, strict=True)
            if each.hello.part is not None
        ]
        self._ending = False
        self._listening: list[asyncio.Task[None]] = []
        self._event_loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Speak with the other ranks from now on, in the running event loop."""
        self._event_loop = asyncio.get_running_loop()
        for caller in self._callers:
            await caller.line.open()
        self._listening = [
            asyncio.create_task(self._listen(name, caller), name="group-rank")
            for name, caller in zip(self._names, self._callers, strict=True)
        ]

    async def _listen(self, name: str, caller: Caller) -> None:
        await caller.hear()
        self._lose(f"{name} of this model instance is gone")

    def _hear_of_hang(self, sentence: str) -> None:
        """Hear it from the compute thread."""
        if self._event_loop is not None:
            self._event_loop.call_soon_threadsafe(self._lose, sentence)

    def _lose(self, sentence: str) -> None:
        if not self._ending:
            self._ending = True
            self.on_lost(sentence)

    def _hear_word(self, word: str) -> None:
        if word == LEAVING and not self._ending:
            self.on_leaving()

    async def close(self) -> None:
        """Let the other ranks end, once nothing is computed any more."""
        self._ending = True
        for stage in self._stages:
            stage.close()
        for caller in self._callers:
            caller.tell(BYE)
            await caller.line.close()
        for task in self._listening:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._listening, return_exceptions=True)
