"""The prefill workers this worker is connected to, one connection each, and which process of theirs it is.

A worker that restarts keeps its name (and in Kubernetes often its address) but is another process whose
memory holds nothing that was offered before: its incarnation tells. A connection is closed only when no
READ uses it any more.

A peer of which a READ is overdue is not asked again until that READ is over: were the network cut, every
further request would wait for the whole time-out, and keep blocks of its own. One that cannot be connected
to is left alone for a while: connecting keeps all other READs waiting.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from disagg_worker.transfer.agent import AgentThread
from disagg_worker.transfer.errors import PeerLost, PeerSilent, TransferError
from disagg_worker.transfer.ticket import Part

AGAIN_SECONDS = 10.0
"""Pause after a peer could not be connected to."""


@dataclass(eq=False)
class Connection:
    """A connected peer process.

    Attributes:
        peer: The worker's name.
        incarnation: Its process.
        started_at: When that process began.
        agent: Name of its NIXL agent.
        reads: READs in flight.
        retired: Replaced or lost; closed with its last READ.
        overdue: READs in flight that have passed their deadline.
        silent_since: When the first of them did (monotonic).
    """

    peer: str
    incarnation: str
    started_at: float
    agent: str
    reads: int = 0
    retired: bool = False
    overdue: int = 0
    silent_since: float = 0.0

    def begin_overdue(self) -> None:
        """Note that a READ has passed its deadline and goes on."""
        if not self.overdue:
            self.silent_since = time.monotonic()
        self.overdue += 1

    def end_overdue(self) -> None:
        """Note that it is over."""
        self.overdue -= 1


class Peers:
    """Connections by peer name.

    Args:
        thread: Of the NIXL agent that connects.
        on_close: Called with the name of an agent when the connection to it is closed.
    """

    def __init__(self, thread: AgentThread, on_close: Callable[[str], None] = lambda _: None) -> None:
        self._thread, self._on_close = thread, on_close
        self._connections: dict[str, Connection] = {}
        self._unreachable: dict[str, tuple[str, float]] = {}
        self._connecting = asyncio.Lock()

    async def acquire(self, part: Part) -> Connection:
        """Get the connection to the process that holds some KV, for one READ; `release` it after that.

        Raises:
            PeerLost: The process was replaced since, or cannot be reached.
            PeerSilent: A READ from it is overdue, or it could not be reached a moment ago.
        """
        async with self._connecting:
            current = self._connections.get(part.peer)
            if current and current.incarnation != part.incarnation:
                if part.started_at < current.started_at:
                    raise PeerLost(
                        f"prefill worker {part.peer} was restarted after it computed this prompt; "
                        "send the request again"
                    )
                await self.lose(current)
                current = None
            if current is None:
                current = await self._connect(part)
                self._connections[part.peer] = current
            if current.overdue:
                silent = time.monotonic() - current.silent_since
                raise PeerSilent(
                    f"prefill worker {part.peer} has not delivered KV that is {silent:.0f} s overdue; "
                    "it is asked again as soon as that has come, or the connection has broken"
                )
            current.reads += 1
            return current

    async def _connect(self, part: Part) -> Connection:
        incarnation, since = self._unreachable.get(part.peer, ("", 0.0))
        ago = time.monotonic() - since
        if incarnation == part.incarnation and ago < AGAIN_SECONDS:
            raise PeerSilent(f"prefill worker {part.peer} could not be reached {ago:.0f} s ago")
        try:
            agent = await self._thread.call(self._thread.agent.connect, part.agent_metadata)
        except TransferError:
            self._unreachable[part.peer] = (part.incarnation, time.monotonic())
            raise
        self._unreachable.pop(part.peer, None)
        return Connection(part.peer, part.incarnation, part.started_at, agent)

    async def release(self, connection: Connection) -> None:
        """End one READ's use of a connection."""
        connection.reads -= 1
        await self._close_if_unused(connection)

    async def lose(self, connection: Connection) -> None:
        """Do not use a connection again; the next ticket of that peer connects anew."""
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
        connection.retired = True
        await self._close_if_unused(connection)

    async def _close_if_unused(self, connection: Connection) -> None:
        if not connection.retired or connection.reads:
            return
        connection.retired = False
        self._on_close(connection.agent)
        try:
            await self._thread.call(self._thread.agent.disconnect, connection.agent)
        except TransferError:
            return  # a peer that is gone cannot be taken leave of
