"""One rank's memory, open to readers: it serves their READs of what was offered and follows their notes.

A READ moves only while this side looks, so it looks closely while anything is open, else now and then: a
read that its reader gave up may go on after its offer ended, and ends only if this side goes on.

A reader may be faster than the rank that decides of an offer, so notes of what is not open yet are kept.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from disagg_worker.kv import BlockPool
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer.agent import AgentThread, soon
from disagg_worker.transfer.errors import TransferError
from disagg_worker.transfer.ticket import Part

IDLE_SECONDS = 0.5
EARLY_NOTES = 256
"""Most notes that are kept of what is not open. Some are late instead, and would be kept for ever."""
_READ, _REFUSED = "read", "refused"

log = logging.getLogger(__name__)


def read_note(lease: str, layers: int) -> bytes:
    """The note that comes with a READ of so many layers of an offer's blocks."""
    return f"{_READ} {lease} {layers}".encode()


def refused_note(lease: str) -> bytes:
    """The note that nobody will read an offer's blocks."""
    return f"{_REFUSED} {lease}".encode()


def _parsed(note: bytes) -> tuple[str, str, str]:
    """Return a note's word, its offer and its number of layers."""
    word, _, rest = note.decode(errors="replace").partition(" ")
    lease, _, layers = rest.partition(" ")
    return word, lease, layers


@dataclass
class _Opened:
    """What may be read: so many blocks, of which so many layers are still unread."""

    blocks: int
    layers_left: int


class Outlet:
    """The open blocks of one rank.

    Args:
        thread: Of the NIXL agent with which the pool is registered.
        pool: The rank's KV memory.
        peer: Name of the rank's pod.
        metrics: Where served bytes are counted.

    Attributes:
        on_read: Called with an offer's name once all layers here were read.
        on_refused: Called with an offer's name when its reader says that it will not read.
        on_look: Called after each look at the notes.
    """

    def __init__(self, thread: AgentThread, pool: BlockPool, peer: str, metrics: WorkerMetrics) -> None:
        self._thread, self._pool, self._peer, self._metrics = thread, pool, peer, metrics
        self._incarnation, self._started_at = uuid.uuid4().hex, time.time()
        self._open: dict[str, _Opened] = {}
        self._early: deque[tuple[str, str, str]] = deque(maxlen=EARLY_NOTES)
        self._opened = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self.on_read: Callable[[str], None] = lambda _: None
        self.on_refused: Callable[[str], None] = lambda _: None
        self.on_look: Callable[[], None] = lambda: None

    async def part(self) -> Part:
        """Describe to readers what is here."""
        return Part.model_construct(
            peer=self._peer,
            incarnation=self._incarnation,
            started_at=self._started_at,
            agent=self._thread.agent.name,
            agent_metadata=await self._thread.call(self._thread.agent.metadata),
            base_address=self._pool.region.address,
            gpu=self._pool.region.gpu,
            layers=self._pool.layers,
        )

    def open(self, lease: str, blocks: int) -> None:
        """Let an offer's blocks be read, as many as given."""
        self._open[lease] = _Opened(blocks, self._pool.layers.count)
        self._opened.set()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="kv-outlet")
        for note in [note for note in self._early if note[1] == lease]:
            self._early.remove(note)
            self._take(*note)

    def shut(self, lease: str) -> None:
        """Await no reader of an offer any more; unknown ones are ignored."""
        self._open.pop(lease, None)

    async def _watch(self) -> None:
        while True:
            for note in await self._notes():
                self._take(*_parsed(note))
            self.on_look()
            if not self._open:
                self._opened.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._opened.wait(), IDLE_SECONDS)

    async def _notes(self) -> list[bytes]:
        look = self._thread.agent.notes
        try:
            return await (self._thread.call(soon, look) if self._open else self._thread.call(look))
        except TransferError as error:
            log.warning("notes of readers cannot be received: %s", error)
            await asyncio.sleep(IDLE_SECONDS)
            return []

    def _take(self, word: str, lease: str, layers: str) -> None:
        opened = self._open.get(lease)
        if opened is None:
            self._early.append((word, lease, layers))
        elif word == _REFUSED:
            self.on_refused(lease)
        elif word == _READ and layers.isdigit():
            opened.layers_left -= int(layers)
            if opened.layers_left <= 0:
                self.shut(lease)
                self._metrics.kv_served_bytes.inc(opened.blocks * self._pool.block_bytes)
                self.on_read(lease)

    async def close(self) -> None:
        """Stop following notes."""
        if self._watcher:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
