"""The prefill side: offers computed blocks, and gives them back once they were read, refused or too old.

Every offer ends exactly once: by the reader's note that it has read the blocks or will not, by `withdraw`,
or `GRACE_SECONDS` after the ticket's expiry. The grace covers clocks that differ between the two machines:
a reader gives up at the expiry, so that blocks are never reused while somebody still reads them.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from dataclasses import asdict, dataclass

from disagg_worker.engine import Prefilled
from disagg_worker.kv import BlockPool, KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.agent import AgentThread, soon
from disagg_worker.transfer.errors import TransferError
from disagg_worker.transfer.ticket import Ticket

GRACE_SECONDS = 5.0
IDLE_SECONDS = 0.5
READ, REFUSED = b"read ", b"refused "

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """A request's blocks, which wait for their reader until `expires_at` (seconds since the epoch)."""

    request_id: str
    lease: KVLease
    expires_at: float


class Source:
    """The offers of one prefill worker.

    Args:
        thread: Of the NIXL agent with which the pool is registered.
        pool: The KV memory.
        peer: This worker's name.
        timeout_seconds: How long an offer stands.
        metrics: Where served bytes are counted.
    """

    def __init__(
        self, thread: AgentThread, pool: BlockPool, peer: str, timeout_seconds: float, metrics: WorkerMetrics
    ) -> None:
        self._thread, self._pool, self._peer = thread, pool, peer
        self._timeout, self._metrics = timeout_seconds, metrics
        self._incarnation, self._started_at = uuid.uuid4().hex, time.time()
        self._offers: dict[str, Offer] = {}
        self._offered = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def open_offers(self) -> int:
        """Offers that are neither read nor given up."""
        return len(self._offers)

    async def offer(self, request_id: str, prefilled: Prefilled) -> Ticket:
        """Take over a prompt's blocks and describe them to the reader."""
        metadata = await self._thread.call(self._thread.agent.metadata)
        lease_id = uuid.uuid4().hex
        expires_at = time.time() + self._timeout
        self._offers[lease_id] = Offer(request_id, prefilled.lease, expires_at)
        self._offered.set()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="kv-offers")
        return Ticket.model_construct(
            lease=lease_id,
            peer=self._peer,
            incarnation=self._incarnation,
            started_at=self._started_at,
            agent=self._thread.agent.name,
            agent_metadata=metadata,
            layout=asdict(self._pool.layout),
            base_address=self._pool.array.ctypes.data,
            blocks=prefilled.lease.blocks[: self._pool.layout.blocks_for(prefilled.lease.tokens)],
            tokens=prefilled.lease.tokens,
            first_token=prefilled.first_token,
            expires_at=expires_at,
        )

    def withdraw(self, lease_id: str) -> None:
        """End an offer that nobody will read, because its request was cancelled before the ticket left."""
        self._end(lease_id)

    async def _watch(self) -> None:
        """Serve reads and follow their notes: closely while there are offers, else now and then.

        A read that its reader gave up may go on after its offer ended, and ends only if this side goes on.
        """
        while True:
            for note in await self._notes():
                self._take(note)
            self._end_late_offers(time.time())
            if not self._offers:
                self._offered.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._offered.wait(), IDLE_SECONDS)

    async def _notes(self) -> list[bytes]:
        look = self._thread.agent.notes
        try:
            return await (self._thread.call(soon, look) if self._offers else self._thread.call(look))
        except TransferError as error:
            log.warning("notes of readers cannot be received: %s", error)
            await asyncio.sleep(IDLE_SECONDS)
            return []

    def _end_late_offers(self, now: float) -> None:
        late = [key for key, offer in self._offers.items() if now > offer.expires_at + GRACE_SECONDS]
        for lease_id in late:
            offer = self._end(lease_id)
            if offer:
                log.warning(
                    "request %s: KV was not read in time; its blocks are free again", offer.request_id
                )

    def _take(self, note: bytes) -> None:
        if note.startswith(READ):
            offer = self._end(note.removeprefix(READ).decode(errors="replace"))
            if offer:
                blocks = self._pool.layout.blocks_for(offer.lease.tokens)
                self._metrics.kv_served_bytes.inc(blocks * self._pool.layout.block_bytes)
        elif note.startswith(REFUSED):
            self._end(note.removeprefix(REFUSED).decode(errors="replace"))

    def _end(self, lease_id: str) -> Offer | None:
        offer = self._offers.pop(lease_id, None)
        if offer:
            offer.lease.release()
        return offer

    async def close(self) -> None:
        """Stop following notes and give all blocks back."""
        if self._watcher:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        for lease_id in list(self._offers):
            self._end(lease_id)
