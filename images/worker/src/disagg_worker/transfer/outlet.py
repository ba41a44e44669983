"""One rank's memory, open to readers: it serves their READs of what was offered and follows their notes.

A READ moves only while this side looks, so it looks closely while anything is open, else now and then: a
read that its reader gave up may go on after its offer ended, and ends only if this side goes on.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.link import Link
from disagg_worker.transfer.looking import Found, Looking
from disagg_worker.transfer.staged import Sender
from disagg_worker.transfer.staged.notes import parse
from disagg_worker.transfer.ticket import Part

REFUSED = 0
"""Stands for the layers that were read of an offer that nobody will read."""


@dataclass
class _Opened:
    """What may be read: so many blocks, of which so many layers are still unread."""

    blocks: int
    layers_left: int


class Outlet:
    """The open blocks of one rank.

    Args:
        link: The rank's KV memory.
        peer: Name of the rank's pod.
        timeout_seconds: How long a reader may take nothing.
        metrics: Where served bytes are counted.

    Attributes:
        on_read: Called with an offer's name once all layers here were read.
        on_refused: Called with an offer's name when its reader says that it will not read.
        on_look: Called after each look at the notes.
    """

    def __init__(self, link: Link, peer: str, timeout_seconds: float, metrics: WorkerMetrics) -> None:
        self._link, self._peer, self._metrics = link, peer, metrics
        self._incarnation, self._started_at = uuid.uuid4().hex, time.time()
        self._open: dict[str, _Opened] = {}
        self._sender = Sender(link.store, timeout_seconds)
        self._heard: deque[tuple[str, int]] = deque()
        self._sender.on_read = lambda lease, layers: self._heard.append((lease, layers))
        self._sender.on_refused = lambda lease: self._heard.append((lease, REFUSED))
        self._looking = Looking(link.thread, self._look)
        self.on_read: Callable[[str], None] = lambda _: None
        self.on_refused: Callable[[str], None] = lambda _: None
        self.on_look: Callable[[], None] = lambda: None
        metrics.observe_staging(link.store.slots.count, lambda: link.store.slots.used)

    async def part(self, lease: str | None = None) -> Part:
        """Describe to readers what is here, and of an offer what is staged already."""
        thread, pool = self._link.thread, self._link.pool

        def of_thread() -> tuple[bytes, dict[str, int]]:
            return thread.agent.metadata(), self._sender.ahead(lease) if lease else {}

        metadata, ahead = await thread.call(of_thread)
        return Part.model_construct(
            peer=self._peer,
            incarnation=self._incarnation,
            started_at=self._started_at,
            agent=thread.agent.name,
            agent_metadata=metadata,
            base_address=pool.region.address,
            pool_blocks=pool.num_blocks,
            slot_bytes=self._link.store.slots.slot_bytes,
            gpu=pool.region.gpu,
            layers=pool.layers,
            ahead=ahead,
        )

    async def sums(self, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
        """Sum what blocks hold, one number for each layer here."""
        pool = self._link.pool
        return await asyncio.to_thread(pool.sums, pool.layers, blocks, tokens)

    async def open(self, lease: str, blocks: Sequence[int], tokens: int) -> None:
        """Let an offer's blocks be read, which hold so many positions."""
        self._open[lease] = _Opened(len(blocks), self._link.pool.layers.count)
        await self._link.thread.call(self._sender.offer, lease, blocks, tokens)
        self._looking.attend(lambda: bool(self._open), self._tell)
        self._looking.wake()

    def shut(self, lease: str) -> None:
        """Await no reader of an offer any more; unknown ones are ignored."""
        if self._open.pop(lease, None):
            self._link.thread.tell(self._sender.shut, lease)

    def _look(self) -> Found:
        """Look once, in the agent's thread."""
        texts = self._link.store.agent.notes()
        for text in texts:
            if note := parse(text):
                self._sender.take(note)
        moved = self._sender.step()
        return Found.NEWS if self._heard else Found.MOVES if moved or texts else Found.NOTHING

    def _tell(self) -> None:
        """Pass on what readers said."""
        while self._heard:
            lease, layers = self._heard.popleft()
            opened = self._open.get(lease)
            if opened and layers == REFUSED:
                self.on_refused(lease)
            elif opened:
                opened.layers_left -= layers
                if opened.layers_left <= 0:
                    self.shut(lease)
                    self._metrics.kv_served_bytes.inc(opened.blocks * self._link.pool.block_bytes)
                    self.on_read(lease)
        self.on_look()

    async def close(self) -> None:
        """Stop following notes."""
        await self._looking.close()
