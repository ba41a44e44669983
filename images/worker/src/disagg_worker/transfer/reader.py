"""The decode side: reads a ticket's blocks into blocks of its own.

Invariant: a block that may still be written to is never given to another request. The lease of a read that
did not succeed is kept in quarantine until nothing of any rank writes to its blocks any more.

Where several ranks share the layers, all of them have the blocks of a lease under the same numbers. The first
one reserves them, and has every rank read its layers.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from disagg_worker.kv import KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.errors import Damaged, NoRoom, TransferError, TransferTimeout
from disagg_worker.transfer.fetcher import Fetcher, Order, Route
from disagg_worker.transfer.gathering import all_of
from disagg_worker.transfer.link import Link
from disagg_worker.transfer.ticket import Ticket
from disagg_worker.transfer.transport import TransportWatch

log = logging.getLogger(__name__)
Reserve = Callable[[str, int], Awaitable[KVLease]]


class OtherFetcher(Protocol):
    """What reads into the layers of another rank of this worker."""

    async def fetch(self, order: Order) -> None:
        """Read an order's blocks; raises like `Fetcher.fetch`."""

    async def finished(self, lease: str) -> None:
        """Wait until nothing writes to an order's blocks any more."""


class Reader:
    """Reads KV blocks for one decode worker.

    Args:
        link: The KV memory to read into.
        reserve: Waits for the blocks of so many tokens for a request.
        timeout_seconds: Limit of one read, the wait for blocks included.
        metrics: Where reads are counted.
        watch: Names transports.
        others: The other ranks, where several share the layers.
        check: Whether it is checked that what was read is what was offered.
    """

    def __init__(
        self,
        link: Link,
        reserve: Reserve,
        *,
        timeout_seconds: float,
        metrics: WorkerMetrics,
        watch: TransportWatch | None = None,
        others: Sequence[OtherFetcher] = (),
        check: bool = True,
    ) -> None:
        self._layout, self._reserve, self._others = link.pool.layout, reserve, others
        self._timeout, self._metrics, self._check = timeout_seconds, metrics, check
        self._fetcher = Fetcher(link, timeout_seconds, metrics, watch)
        self._quarantine: set[asyncio.Task[None]] = set()
        # Shown from the start as 0: of a counter that begins with 1 no alert sees that it rose.
        metrics.kv_reads.labels(Damaged.outcome)

    @property
    def quarantined(self) -> int:
        """Reads that failed here and may still write to their blocks."""
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
        try:
            routes = await self._fetcher.connect(ticket.parts)
            lease = await self._reserved(request_id, ticket, routes, prompt_tokens, deadline)
            await self._fetch(ticket, routes, lease, deadline)
        except TransferError as error:
            self._metrics.kv_reads.labels(error.outcome).inc()
            raise
        self._metrics.kv_reads.labels("ok").inc()
        log.info("request %s: KV read from %s", request_id, ", ".join(part.peer for part in ticket.parts))
        return lease

    async def _reserved(
        self, request_id: str, ticket: Ticket, routes: list[Route], prompt_tokens: int, deadline: float
    ) -> KVLease:
        """Check and reserve; a ticket that comes to no READ is refused to its issuer."""
        try:
            ticket.require_fit(self._layout, prompt_tokens)
            _require_time(deadline)
            return await self._before(deadline, self._reserve(request_id, ticket.tokens))
        except BaseException:
            await self._fetcher.refuse(ticket.lease, routes)
            raise

    async def _before(self, deadline: float, reservation: Awaitable[KVLease]) -> KVLease:
        try:
            return await asyncio.wait_for(reservation, max(0.0, deadline - time.time()))
        except TimeoutError:
            raise NoRoom(
                f"no KV blocks became free here within {self._timeout:g} s (transfer.timeout_seconds)"
            ) from None

    async def _fetch(self, ticket: Ticket, routes: list[Route], lease: KVLease, deadline: float) -> None:
        """Have all ranks read; on failure the lease passes to the quarantine."""
        order = Order.model_construct(
            lease=ticket.lease,
            parts=ticket.parts,
            local=lease.blocks[: self._layout.blocks_for(ticket.tokens)],
            remote=ticket.blocks,
            block_tokens=ticket.block_tokens,
            tokens=ticket.tokens,
            deadline=deadline,
            sums=ticket.sums if self._check else (),
        )
        try:
            elsewhere = (other.fetch(order) for other in self._others)
            await all_of((self._fetcher.fetch(order, routes), *elsewhere))
        except BaseException:
            task = asyncio.create_task(self._release_when_over(order, lease), name="kv-quarantine")
            self._quarantine.add(task)
            task.add_done_callback(self._quarantine.discard)
            raise

    async def _release_when_over(self, order: Order, lease: KVLease) -> None:
        elsewhere = (other.finished(order.lease) for other in self._others)
        await asyncio.gather(self._fetcher.finished(order.lease), *elsewhere)
        lease.release()
        log.info("the blocks of a KV read that failed are free again")

    async def close(self) -> None:
        """Give up the quarantine: the process ends."""
        for task in self._quarantine:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._quarantine, return_exceptions=True)
        await self._fetcher.close()


def _require_time(deadline: float) -> None:
    if time.time() > deadline:
        raise TransferTimeout("the KV that the prefill worker kept for this prompt is too old")
