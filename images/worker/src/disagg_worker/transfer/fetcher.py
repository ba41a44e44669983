"""What one rank reads: an order's blocks, of the layers that the rank holds, from all ranks that hold them.

NIXL cannot take a READ back (its handle can be freed while bytes are on the way, and they arrive all the
same). What becomes of a READ that did not succeed is therefore followed until NIXL says that it is over: its
bytes came after all, or the connection broke. Nothing less is safe: bytes arrive even after the peer was
disconnected.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from disagg_worker.kv.cache import Share
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.errors import Damaged, PeerLost, ShapeMismatch, TransferError, TransferTimeout
from disagg_worker.transfer.gathering import all_of
from disagg_worker.transfer.link import Link
from disagg_worker.transfer.looking import SLICE_SECONDS, Found, Looking
from disagg_worker.transfer.peers import AGAIN_SECONDS, Connection, Peers
from disagg_worker.transfer.staged import Arrival, Receiver, Wanted
from disagg_worker.transfer.staged.notes import parse, refuse_note
from disagg_worker.transfer.ticket import Part
from disagg_worker.transfer.transport import TransportWatch

SLOWEST_POLL_SECONDS = 0.25
DELIVERY_SECONDS = 2.0


class Order(BaseModel):
    """Blocks to read, the same on all ranks of the reader.

    Attributes:
        lease: Name of the offer, by which what becomes of the order can be asked for.
        parts: Where the blocks are.
        local: Blocks to read into, in the order of the positions.
        remote: Blocks to read from, likewise.
        block_tokens: Positions per block there.
        tokens: Positions to read.
        deadline: When they are of no use any more (seconds since the epoch).
        sums: What they hold, one sum for each layer of the model; none where that is not checked.
    """

    model_config = ConfigDict(frozen=True)

    lease: str
    parts: tuple[Part, ...]
    local: tuple[int, ...]
    remote: tuple[int, ...]
    block_tokens: int
    tokens: int
    deadline: float
    sums: tuple[int, ...] = ()


@dataclass(frozen=True)
class Route:
    """A connection to a rank of the prefill worker, and what is there."""

    part: Part
    connection: Connection


class Fetcher:
    """Reads into the layers of one rank.

    Args:
        link: The rank's KV memory.
        timeout_seconds: Limit of one read, for people.
        metrics: Where bytes are counted.
        watch: Names transports.
    """

    def __init__(
        self,
        link: Link,
        timeout_seconds: float,
        metrics: WorkerMetrics,
        watch: TransportWatch | None = None,
    ) -> None:
        self._link, self._timeout, self._metrics = link, timeout_seconds, metrics
        self._watch = watch or TransportWatch()
        self._receiver = Receiver(
            link.store,
            cost=link.cost,
            timeout_seconds=timeout_seconds,
            most_bytes_per_second=link.most_bytes_per_second,
        )
        self._peers = Peers(link.thread, self._receiver.forget)
        self._looking = Looking(link.thread, self._look)
        self._unfinished: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._leaving: set[asyncio.Task[None]] = set()
        self._deliver_until = 0.0
        metrics.observe_staging(link.store.slots.count, lambda: link.store.slots.used)

    async def connect(self, parts: Iterable[Part]) -> list[Route]:
        """Connect to those ranks that hold layers of this one; `fetch` or `refuse` ends the use.

        Raises:
            PeerLost: One was replaced since, or cannot be reached.
            PeerSilent: A READ from one is overdue.
        """
        # Refusals that are under way, and farewells, belong to no READ.
        self._looking.attend(lambda: time.monotonic() < self._deliver_until)
        routes: list[Route] = []
        try:
            for part in parts:
                if part.layers.shared(self._link.pool.layers).count:
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
        thread, note = self._link.thread, refuse_note(lease)
        with contextlib.suppress(TransferError):
            for route in routes[:1]:  # the first rank decides about the offer
                await thread.call(thread.agent.notify, route.connection.agent, note)
                self._deliver_until = time.monotonic() + DELIVERY_SECONDS
                self._looking.wake()
        await self._release(routes)

    async def finished(self, lease: str) -> None:
        """Wait until nothing writes to an order's blocks any more."""
        while tasks := self._unfinished.pop(lease, None):
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _release(self, routes: Iterable[Route]) -> None:
        for route in routes:
            await self._peers.release(route.connection)

    async def _read(self, order: Order, route: Route) -> None:
        """Read from one rank; on failure the connection is kept until its READs are over."""
        part, thread = route.part, self._link.thread
        begun = time.perf_counter()
        wanted = self._wanted(order, route)
        starting = asyncio.ensure_future(thread.call(self._receiver.start, wanted, order.local))
        try:
            arrival = await asyncio.shield(starting)
            await self._in_time(arrival, order.deadline)
            await self._check(order, part)
        except BaseException as error:
            self._follow(order.lease, starting, route.connection, error)
            if isinstance(error, PeerLost):
                self._watch.forget(part.peer)
                await self._peers.lose(route.connection)
                raise PeerLost(f"prefill worker {part.peer} was lost while its KV was read") from None
            raise
        self._metrics.kv_read_seconds.observe(time.perf_counter() - begun)
        try:
            transport = await thread.call(self._watch.of, part.peer)
            self._metrics.kv_read_bytes.labels(thread.agent.backend, transport).inc(arrival.nbytes)
            self._metrics.kv_mode_bytes.labels("direct" if arrival.direct else "staged").inc(arrival.nbytes)
        finally:
            await self._peers.release(route.connection)

    def _wanted(self, order: Order, route: Route) -> Wanted:
        part, pool = route.part, self._link.pool
        heads = range(pool.layout.kv_heads)
        return Wanted(
            offer=order.lease,
            peer=route.connection.agent,
            gpu=part.gpu,
            layout=pool.layout.cache(order.block_tokens, part.pool_blocks, part.layers),
            address=part.base_address,
            blocks=order.remote,
            tokens=order.tokens,
            share=Share(0, pool.layers.shared(part.layers), heads),
            slot_bytes=part.slot_bytes,
            ahead=part.ahead,
        )

    async def _in_time(self, arrival: Arrival, deadline: float) -> None:
        # What ends late counts as failed: its blocks may have been given to others meanwhile.
        while not arrival.over and time.time() <= deadline:
            await self._looking.turn()
        if arrival.error:
            raise arrival.error
        if not arrival.done or time.time() > deadline:
            raise TransferTimeout(
                f"the prompt's KV did not arrive within {self._timeout:g} s (transfer.timeout_seconds)"
            )

    async def _check(self, order: Order, part: Part) -> None:
        """Compare what was read from a rank with what it offered."""
        if not order.sums:
            return
        pool = self._link.pool
        layers = pool.layers.shared(part.layers)
        found = await asyncio.to_thread(pool.sums, layers, order.local, order.tokens)
        wrong = [
            layers.first + index
            for index, (mine, theirs) in enumerate(
                zip(found, order.sums[layers.first : layers.end], strict=True)
            )
            if mine != theirs
        ]
        if wrong:
            raise Damaged(
                f"the KV that was read from prefill worker {part.peer} is not what it offered: layers "
                f"{', '.join(map(str, wrong))} differ"
            )

    def _look(self) -> Found:
        """Look once, in the agent's thread."""
        texts = self._link.store.agent.notes()
        for text in texts:
            if note := parse(text):
                self._receiver.take(note)
        awaited = self._receiver.awaited
        moved = self._receiver.step()
        if self._receiver.awaited < awaited:
            return Found.NEWS
        return Found.MOVES if moved or texts else Found.NOTHING

    def _follow(
        self, lease: str, starting: asyncio.Future[Arrival], connection: Connection, error: BaseException
    ) -> None:
        """Follow a read that failed: until nothing writes to its blocks, and until its READs are over."""
        settling = asyncio.create_task(self._until_settled(starting, error), name="kv-unfinished")
        self._unfinished[lease].add(settling)
        overdue = isinstance(error, TransferTimeout)
        if overdue:
            connection.begin_overdue()
        leaving = asyncio.create_task(
            self._until_quiet(starting, settling, connection, overdue=overdue), name="kv-leaving"
        )
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _until_settled(self, starting: asyncio.Future[Arrival], error: BaseException) -> None:
        try:
            arrival = await starting
        except TransferError:
            return  # nothing was begun
        told = error if isinstance(error, TransferError) else TransferError("the request ended")
        await self._link.thread.call(self._receiver.abandon, arrival, told)
        await self._until(lambda: arrival.settled)

    async def _until_quiet(
        self,
        starting: asyncio.Future[Arrival],
        settling: asyncio.Task[None],
        connection: Connection,
        *,
        overdue: bool,
    ) -> None:
        """Keep a connection until no READ of a failed transfer uses it; lose it if one of them failed."""
        await asyncio.wait([settling])
        try:
            arrival = await starting
            await self._until(lambda: arrival.quiet)
            if arrival.broken:
                await self._peers.lose(connection)
            elif overdue and not (arrival.direct or arrival.told):
                await asyncio.sleep(AGAIN_SECONDS)  # it does not answer, and no READ will tell that it does
        except ShapeMismatch:
            pass  # nothing was read
        except TransferError:
            await self._peers.lose(connection)
        if overdue:
            connection.end_overdue()
        await self._peers.release(connection)

    async def _until(self, true: Callable[[], bool]) -> None:
        """Look until something is true that nobody waits for any more."""
        pause = SLICE_SECONDS
        while not true():
            await self._looking.turn()
            await asyncio.sleep(pause)
            pause = min(2 * pause, SLOWEST_POLL_SECONDS)

    async def close(self) -> None:
        """Follow nothing any more: the process ends."""
        tasks = [*self._leaving, *(task for tasks in self._unfinished.values() for task in tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._looking.close()
