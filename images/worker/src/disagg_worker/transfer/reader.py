"""The decode side: reads a ticket's blocks into blocks of its own.

Invariant: a block that a READ may still write to is never given to another request. NIXL cannot take a READ
back (its handle can be freed while bytes are on the way, and they arrive all the same), so the lease of a
READ that did not succeed is kept in quarantine until NIXL says that the READ is over.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from disagg_worker.kv import BlockPool, KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.agent import SLICE_SECONDS, AgentThread, soon
from disagg_worker.transfer.errors import PeerLost, TransferError, TransferTimeout
from disagg_worker.transfer.peers import Connection, Peers
from disagg_worker.transfer.segments import coalesce, spans
from disagg_worker.transfer.source import READ, REFUSED
from disagg_worker.transfer.ticket import Ticket
from disagg_worker.transfer.transport import TransportWatch

SLOWEST_POLL_SECONDS = 0.25
IDLE_SECONDS = 0.5
DELIVERY_SECONDS = 2.0
SETTLE_SECONDS = 0.5

log = logging.getLogger(__name__)
Reserve = Callable[[str, int], Awaitable[KVLease]]


class Reader:
    """Reads KV blocks for one decode worker.

    Args:
        thread: Of the NIXL agent with which the pool is registered.
        pool: The KV memory to read into.
        reserve: Waits for the blocks of so many tokens for a request.
        timeout_seconds: Limit of one read, the wait for blocks included.
        metrics: Where reads are counted.
        watch: Names transports.
    """

    def __init__(
        self,
        thread: AgentThread,
        pool: BlockPool,
        reserve: Reserve,
        *,
        timeout_seconds: float,
        metrics: WorkerMetrics,
        watch: TransportWatch | None = None,
    ) -> None:
        self._thread, self._pool, self._reserve = thread, pool, reserve
        self._timeout, self._metrics = timeout_seconds, metrics
        self._watch = watch or TransportWatch()
        self._peers = Peers(thread)
        self._quarantine: set[asyncio.Task[None]] = set()
        self._deliver_until = 0.0
        self._attendant: asyncio.Task[None] | None = None

    @property
    def quarantined(self) -> int:
        """READs that failed here and may still write to their blocks."""
        return len(self._quarantine)

    async def read(self, request_id: str, ticket: Ticket, prompt_tokens: int) -> KVLease:
        """Read a ticket's blocks; the lease belongs to the caller.

        Args:
            request_id: The request that waits.
            ticket: What the prefill worker offers.
            prompt_tokens: Tokens of the request's prompt, as this worker sees it.

        Raises:
            TransferError: Nothing was read, and why; blocks are given back here and on the other side.
        """
        deadline = min(time.time() + self._timeout, ticket.expires_at)
        if self._attendant is None:
            self._attendant = asyncio.create_task(self._attend(), name="kv-connections")
        try:
            connection = await self._peers.acquire(ticket)
            try:
                lease = await self._read(request_id, ticket, connection, prompt_tokens, deadline)
            except PeerLost:
                self._watch.forget(ticket.peer)
                await self._peers.lose(connection)
                raise PeerLost(f"prefill worker {ticket.peer} was lost while its KV was read") from None
        except TransferError as error:
            self._metrics.kv_reads.labels(error.outcome).inc()
            raise
        self._metrics.kv_reads.labels("ok").inc()
        return lease

    async def _read(
        self, request_id: str, ticket: Ticket, connection: Connection, prompt_tokens: int, deadline: float
    ) -> KVLease:
        """Check, reserve and transfer; a ticket that comes to no READ is refused to its issuer."""
        reserved = False
        try:
            ticket.require_fit(self._pool.layout, prompt_tokens)
            lease = await self._before(deadline, self._reserve(request_id, ticket.tokens))
            reserved = True
        finally:
            if not reserved:
                await self._refuse(ticket, connection)
                await self._peers.release(connection)
        await self._transfer(ticket, connection, lease, deadline)
        await self._peers.release(connection)
        return lease

    async def _transfer(
        self, ticket: Ticket, connection: Connection, lease: KVLease, deadline: float
    ) -> None:
        """Make the READ; on failure the lease and the connection pass to the quarantine."""
        agent, layout = self._thread.agent, self._pool.layout
        segments = coalesce(lease.blocks[: len(ticket.blocks)], ticket.blocks)
        places = spans(segments, self._pool.array.ctypes.data, ticket.base_address, layout.block_bytes)
        note = READ + ticket.lease.encode()
        begun = time.perf_counter()
        posted = asyncio.ensure_future(self._thread.call(agent.read, connection.agent, places, note))
        try:
            handle = await asyncio.shield(posted)
            await self._in_time(handle, deadline)
        except BaseException:
            self._keep_until_over(posted, lease, connection)
            raise
        self._metrics.kv_read_seconds.observe(time.perf_counter() - begun)
        await self._thread.call(agent.release, handle)
        transport = await self._thread.call(self._watch.of, ticket.peer)
        moved = len(ticket.blocks) * layout.block_bytes
        self._metrics.kv_read_bytes.labels(agent.backend, transport).inc(moved)

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

    async def _before(self, deadline: float, reservation: Awaitable[KVLease]) -> KVLease:
        try:
            return await asyncio.wait_for(reservation, max(0.0, deadline - time.time()))
        except TimeoutError:
            raise TransferTimeout(
                f"no KV blocks became free here within {self._timeout:g} s (transfer.timeout_seconds)"
            ) from None

    async def _refuse(self, ticket: Ticket, connection: Connection) -> None:
        """Tell the prefill worker that nobody will read; its timeout does the same when this fails."""
        with contextlib.suppress(TransferError):
            await self._thread.call(
                self._thread.agent.notify, connection.agent, REFUSED + ticket.lease.encode()
            )
            self._deliver_until = time.monotonic() + DELIVERY_SECONDS

    async def _attend(self) -> None:
        """Keep what belongs to no READ going: refusals that are under way, and farewells."""
        look = self._thread.agent.notes
        while True:
            delivering = time.monotonic() < self._deliver_until
            with contextlib.suppress(TransferError):
                await (self._thread.call(soon, look) if delivering else self._thread.call(look))
            await asyncio.sleep(0 if delivering else IDLE_SECONDS)

    def _keep_until_over(
        self, posted: asyncio.Future[object], lease: KVLease, connection: Connection
    ) -> None:
        task = asyncio.create_task(self._release_when_over(posted, lease, connection), name="kv-quarantine")
        self._quarantine.add(task)
        task.add_done_callback(self._quarantine.discard)

    async def _release_when_over(
        self, posted: asyncio.Future[object], lease: KVLease, connection: Connection
    ) -> None:
        try:
            handle = await posted
            try:
                await self._settle(handle)
            finally:
                with contextlib.suppress(TransferError):
                    await self._thread.call(self._thread.agent.release, handle)
        except TransferError:
            # One part of the READ failed; the others end with the same connection, but a little later.
            await asyncio.sleep(SETTLE_SECONDS)
        lease.release()
        await self._peers.release(connection)
        log.info("the blocks of a KV read that failed are free again")

    async def close(self) -> None:
        """Give up the quarantine: the process ends."""
        tasks = [*self._quarantine, *([self._attendant] if self._attendant else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
