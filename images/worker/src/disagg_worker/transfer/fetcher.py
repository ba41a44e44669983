"""One rank's READs: an order's blocks, of the layers that the rank holds, from all ranks that hold them.

NIXL cannot take a READ back (its handle can be freed while bytes are on the way, and they arrive all the
same). What becomes of a READ that did not succeed is therefore followed until NIXL says that it is over: its
bytes came after all, or the connection broke. Nothing less is safe: bytes arrive even after the peer was
disconnected.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from disagg_worker.kv import BlockPool
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.agent import SLICE_SECONDS, AgentThread, soon
from disagg_worker.transfer.errors import PeerLost, TransferError, TransferTimeout
from disagg_worker.transfer.gathering import all_of
from disagg_worker.transfer.outlet import read_note, refused_note
from disagg_worker.transfer.peers import Connection, Peers
from disagg_worker.transfer.segments import Holding, coalesce, spans
from disagg_worker.transfer.ticket import Part
from disagg_worker.transfer.transport import TransportWatch

SLOWEST_POLL_SECONDS = 0.25
IDLE_SECONDS = 0.5
DELIVERY_SECONDS = 2.0
SETTLE_SECONDS = 0.5


class Order(BaseModel):
    """Blocks to read, the same on all ranks of the reader.

    Attributes:
        lease: Name of the offer, by which what becomes of the order can be asked for.
        parts: Where the blocks are.
        local: Blocks to read into; `local[i]` receives `remote[i]`.
        remote: Blocks to read from.
        deadline: When they are of no use any more (seconds since the epoch).
    """

    model_config = ConfigDict(frozen=True)

    lease: str
    parts: tuple[Part, ...]
    local: tuple[int, ...]
    remote: tuple[int, ...]
    deadline: float


@dataclass(frozen=True)
class Route:
    """A connection to a rank of the prefill worker, and what is there."""

    part: Part
    connection: Connection


class Fetcher:
    """Reads into the layers of one rank.

    Args:
        thread: Of the NIXL agent with which the pool is registered.
        pool: The rank's KV memory.
        timeout_seconds: Limit of one read, for people.
        metrics: Where bytes are counted.
        watch: Names transports.
    """

    def __init__(
        self,
        thread: AgentThread,
        pool: BlockPool,
        timeout_seconds: float,
        metrics: WorkerMetrics,
        watch: TransportWatch | None = None,
    ) -> None:
        self._thread, self._pool, self._timeout, self._metrics = thread, pool, timeout_seconds, metrics
        self._watch = watch or TransportWatch()
        self._peers = Peers(thread)
        self._unfinished: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._deliver_until = 0.0
        self._attendant: asyncio.Task[None] | None = None

    async def connect(self, parts: Iterable[Part]) -> list[Route]:
        """Connect to those ranks that hold layers of this one; `fetch` or `refuse` ends the use.

        Raises:
            PeerLost: One was replaced since, or cannot be reached.
            PeerSilent: A READ from one is overdue.
        """
        if self._attendant is None:
            self._attendant = asyncio.create_task(self._attend(), name="kv-connections")
        routes: list[Route] = []
        try:
            for part in parts:
                if part.layers.shared(self._pool.layers).count:
                    routes.append(Route(part, await self._peers.acquire(part)))
        except BaseException:
            await self._release(routes)
            raise
        return routes

    async def fetch(self, order: Order, routes: list[Route]) -> None:
        """Read an order's blocks.

        Raises:
            TransferError: They are not all there; READs may go on until `finished` returns.
        """
        await all_of(self._read(order, route) for route in routes)

    async def refuse(self, lease: str, routes: list[Route]) -> None:
        """Tell the prefill worker that nobody will read; its timeout does the same when this fails."""
        note = refused_note(lease)
        with contextlib.suppress(TransferError):
            for route in routes[:1]:  # the first rank decides about the offer
                await self._thread.call(self._thread.agent.notify, route.connection.agent, note)
                self._deliver_until = time.monotonic() + DELIVERY_SECONDS
        await self._release(routes)

    async def finished(self, lease: str) -> None:
        """Wait until no READ of an order writes any more."""
        while tasks := self._unfinished.pop(lease, None):
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _release(self, routes: Iterable[Route]) -> None:
        for route in routes:
            await self._peers.release(route.connection)

    async def _read(self, order: Order, route: Route) -> None:
        """READ from one rank; on failure the connection is kept until the READ is over."""
        agent, pool, part = self._thread.agent, self._pool, route.part
        layers = pool.layers.shared(part.layers).count
        here = Holding(pool.region.address, pool.layers)
        places = spans(coalesce(order.local, order.remote), here, part.holding, pool.layout.layer_bytes)
        note = read_note(order.lease, layers)
        begun = time.perf_counter()
        reading = self._thread.call(agent.read, route.connection.agent, part.gpu, places, note)
        posted = asyncio.ensure_future(reading)
        try:
            handle = await asyncio.shield(posted)
            await self._in_time(handle, order.deadline)
        except BaseException as error:
            overdue = isinstance(error, TransferTimeout)
            self._follow(order.lease, posted, route.connection, overdue=overdue)
            if isinstance(error, PeerLost):
                self._watch.forget(part.peer)
                await self._peers.lose(route.connection)
                raise PeerLost(f"prefill worker {part.peer} was lost while its KV was read") from None
            raise
        self._metrics.kv_read_seconds.observe(time.perf_counter() - begun)
        try:
            await self._thread.call(agent.release, handle)
            transport = await self._thread.call(self._watch.of, part.peer)
            moved = len(order.remote) * layers * pool.layout.layer_bytes
            self._metrics.kv_read_bytes.labels(agent.backend, transport).inc(moved)
        finally:
            await self._peers.release(route.connection)

    async def _in_time(self, handle: object, deadline: float) -> None:
        # A READ that ends late counts as failed: its blocks may have been given to others meanwhile.
        if not await self._poll(handle, deadline) or time.time() > deadline:
            raise TransferTimeout(
                f"the prompt's KV did not arrive within {self._timeout:g} s (transfer.timeout_seconds)"
            )

    async def _poll(self, handle: object, deadline: float) -> bool:
        """Wait for a READ; False when it goes on at the deadline."""
        while not await self._thread.call(soon, lambda: self._thread.agent.is_done(handle)):
            if time.time() > deadline:
                return False
        return True

    async def _settle(self, handle: object) -> None:
        """Wait for a READ that nobody waits for any more."""
        pause = SLICE_SECONDS
        while not await self._thread.call(soon, lambda: self._thread.agent.is_done(handle)):
            await asyncio.sleep(pause)
            pause = min(2 * pause, SLOWEST_POLL_SECONDS)

    def _follow(
        self, lease: str, posted: asyncio.Future[object], connection: Connection, *, overdue: bool
    ) -> None:
        task = asyncio.create_task(self._until_over(posted, connection), name="kv-unfinished")
        self._unfinished[lease].add(task)
        if overdue:
            connection.begin_overdue()
            task.add_done_callback(lambda _: connection.end_overdue())

    async def _until_over(self, posted: asyncio.Future[object], connection: Connection) -> None:
        try:
            handle = await posted
            try:
                await self._settle(handle)
            finally:
                with contextlib.suppress(TransferError):
                    await self._thread.call(self._thread.agent.release, handle)
        except TransferError:
            await self._peers.lose(connection)
            # One part of the READ failed; the others end with the same connection, but a little later.
            await asyncio.sleep(SETTLE_SECONDS)
        await self._peers.release(connection)

    async def _attend(self) -> None:
        """Keep what belongs to no READ going: refusals that are under way, and farewells."""
        look = self._thread.agent.notes
        while True:
            delivering = time.monotonic() < self._deliver_until
            with contextlib.suppress(TransferError):
                await (self._thread.call(soon, look) if delivering else self._thread.call(look))
            await asyncio.sleep(0 if delivering else IDLE_SECONDS)

    async def close(self) -> None:
        """Follow nothing any more: the process ends."""
        unfinished = [task for tasks in self._unfinished.values() for task in tasks]
        tasks = [*unfinished, *([self._attendant] if self._attendant else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
