"""The prefill side: offers computed blocks, and gives them back once they were read, refused or too old.

Every offer ends exactly once: when readers' notes say that all layers were read or will not be, by
`withdraw`, or `GRACE_SECONDS` after the ticket's expiry. The grace covers clocks that differ between the two
machines: a reader gives up at the expiry, so that blocks are never reused while somebody still reads them.

Where several ranks share the layers, all of them hold the blocks of an offer under the same numbers. The
first one decides: it has them opened and shut on the others.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Protocol

from disagg_worker.engine import Prefilled
from disagg_worker.kv import KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.link import Link
from disagg_worker.transfer.outlet import Outlet
from disagg_worker.transfer.ticket import Part, Ticket

GRACE_SECONDS = 5.0

log = logging.getLogger(__name__)


class OtherOutlet(Protocol):
    """The memory of another rank of this worker.

    Attributes:
        part: Where it is.
    """

    part: Part

    async def sums(self, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
        """Sum what blocks hold, one number for each layer there."""

    async def opened(self, lease: str, blocks: Sequence[int], tokens: int) -> None:
        """Let an offer's blocks be read; returns when all its layers were, or the offer was shut."""

    def shut(self, lease: str) -> None:
        """Await no reader of an offer any more."""


@dataclass
class Offer:
    """A request's blocks, which wait for their reader.

    Attributes:
        request_id: The request.
        lease: The blocks.
        expires_at: Until when (seconds since the epoch).
        unread: Ranks of which layers are to be read.
    """

    request_id: str
    lease: KVLease
    expires_at: float
    unread: int


class Source:
    """The offers of one prefill worker.

    Args:
        link: The KV memory.
        peer: This worker's name.
        timeout_seconds: How long an offer stands.
        metrics: Where served bytes are counted.
        others: The other ranks, where several share the layers.
        check: Whether readers are told what the blocks hold.
    """

    def __init__(
        self,
        link: Link,
        peer: str,
        timeout_seconds: float,
        metrics: WorkerMetrics,
        *,
        others: Sequence[OtherOutlet] = (),
        check: bool = True,
    ) -> None:
        self._pool, self._timeout, self._others, self._check = link.pool, timeout_seconds, others, check
        self._offers: dict[str, Offer] = {}
        self._elsewhere: set[asyncio.Task[None]] = set()
        self._outlet = Outlet(link, peer, timeout_seconds + GRACE_SECONDS, metrics)
        self._outlet.on_read = self._read
        self._outlet.on_refused = self._end
        self._outlet.on_look = self._end_late_offers

    @property
    def open_offers(self) -> int:
        """Offers that are neither read nor given up."""
        return len(self._offers)

    async def offer(self, request_id: str, prefilled: Prefilled) -> Ticket:
        """Take over a prompt's blocks and describe them to the reader."""
        lease_id = uuid.uuid4().hex
        expires_at = time.time() + self._timeout
        tokens = prefilled.lease.tokens
        blocks = prefilled.lease.blocks[: self._pool.layout.blocks_for(tokens)]
        self._offers[lease_id] = Offer(request_id, prefilled.lease, expires_at, 1 + len(self._others))
        try:
            await self._outlet.open(lease_id, blocks, tokens)
            sums = await self._sums(blocks, tokens)
            part = await self._outlet.part(lease_id)  # what it stages ahead, it has staged by now
        except BaseException:
            self._end(lease_id)
            raise
        for other in self._others:
            elsewhere = self._read_elsewhere(other, lease_id, blocks, tokens)
            task = asyncio.create_task(elsewhere, name="kv-offer")
            self._elsewhere.add(task)
            task.add_done_callback(self._elsewhere.discard)
        return Ticket.model_construct(
            lease=lease_id,
            layout=asdict(self._pool.layout),
            parts=(part, *(other.part for other in self._others)),
            blocks=blocks,
            tokens=tokens,
            first_token=prefilled.first_token,
            sums=sums,
            expires_at=expires_at,
        )

    async def _sums(self, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
        if not self._check:
            return ()
        elsewhere = (other.sums(blocks, tokens) for other in self._others)
        return tuple(chain(*await asyncio.gather(self._outlet.sums(blocks, tokens), *elsewhere)))

    def withdraw(self, lease_id: str) -> None:
        """End an offer that nobody will read, because its request was cancelled before the ticket left."""
        self._end(lease_id)

    async def _read_elsewhere(
        self, other: OtherOutlet, lease_id: str, blocks: Sequence[int], tokens: int
    ) -> None:
        await other.opened(lease_id, blocks, tokens)
        self._read(lease_id)

    def _read(self, lease_id: str) -> None:
        """Note that all layers of one rank were read."""
        offer = self._offers.get(lease_id)
        if offer:
            offer.unread -= 1
            if not offer.unread:
                self._end(lease_id)

    def _end_late_offers(self) -> None:
        now = time.time()
        late = [key for key, offer in self._offers.items() if now > offer.expires_at + GRACE_SECONDS]
        for lease_id in late:
            log.warning(
                "request %s: KV was not read in time; its blocks are free again",
                self._offers[lease_id].request_id,
            )
            self._end(lease_id)

    def _end(self, lease_id: str) -> None:
        offer = self._offers.pop(lease_id, None)
        if offer:
            self._outlet.shut(lease_id)
            if offer.unread:
                for other in self._others:
                    other.shut(lease_id)
            offer.lease.release()

    async def close(self) -> None:
        """Stop following notes and give all blocks back."""
        await self._outlet.close()
        for lease_id in list(self._offers):
            self._end(lease_id)
