"""The reader's side: READs what the owner has staged, and scatters it into blocks of its own.

Everything here runs in the agent's thread, a step at a time.

Invariant: NIXL cannot take a READ back, so a slot that one may still write to is kept in quarantine until
NIXL says that the READ is over. Blocks are written to by scattering alone: `Arrival.settled` tells when those
of a transfer that failed may be used for something else, which is soon, however long its READs hang. A READ
without staging writes to the blocks themselves, and settles with its end only.

Where the ticket says that the first piece is staged already, it is READ before the owner answers, and
scattered only once that says that the piece was kept: the slot may have been used for something else.

Slots that hang in READs are no reason to wait: where fewer than two are left, and where the owner says that
all of its own are in use, a transfer goes without staging.
"""

import base64
import contextlib
import itertools
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from disagg_worker.kv.cache import CacheLayout, LayoutMismatch, Share
from disagg_worker.kv.mover import Copied, Places
from disagg_worker.kv.planner import Plan, lanes_of, plan
from disagg_worker.memory import region_of
from disagg_worker.transfer.agent import Span
from disagg_worker.transfer.errors import ShapeMismatch, TransferError, TransferTimeout
from disagg_worker.transfer.staged.cost import Cost
from disagg_worker.transfer.staged.notes import Note, Want, read_note, reader_key, target_text, want, write
from disagg_worker.transfer.staged.pieces import pieces
from disagg_worker.transfer.staged.store import Store

log = logging.getLogger(__name__)
SETTLE_SECONDS = 0.5
NO_SLOT = -1
"""Stands for the slot of a READ that goes without one."""
STALE = -1
"""Stands for the piece of a READ that brought something else."""


@dataclass(frozen=True)
class Wanted:
    """What a reader knows of an offer.

    Attributes:
        offer: Its name.
        peer: The owner's agent, which is connected.
        gpu: The owner's GPU; None for host memory.
        layout: Of the owner's region.
        address: Where that begins.
        blocks: Blocks there, in the order of the positions.
        tokens: Positions.
        share: What is read from this rank.
        slot_bytes: Size of the owner's staging slots; 0 if it has none.
        complete: Whether all layers are computed. Only then are pieces read without staging.
        ahead: Addresses of first pieces that were staged already, by `reader_key`.
    """

    offer: str
    peer: str
    gpu: int | None
    layout: CacheLayout
    address: int
    blocks: Sequence[int]
    tokens: int
    share: Share
    slot_bytes: int
    complete: bool = True
    ahead: Mapping[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Arrival:
    """A transfer into this region.

    Attributes:
        name: Of the transfer.
        wanted: What is read.
        blocks: Where it is read to.
        nbytes: Bytes that it moves.
        row_bytes: Size of a row of its plan.
        direct: Whether it goes without staging memory.
        path: The plan, without where the owner has the blocks.
        places: Where its rows are here.
        pieces: How it is cut.
        ready: Pieces that the owner has staged, and where.
        told: Pieces that were ready at any time.
        reading: READs, with the slots that they write to.
        scattering: Copies from slots.
        cooling: Slots of READs that failed, and until when more bytes may come.
        left: Pieces that are not in their places.
        broken: Whether a READ failed.
        done: Whether everything is in its place.
        error: Why it failed.
    """

    name: str
    wanted: Wanted
    blocks: Sequence[int]
    nbytes: int
    row_bytes: int
    deadline: float
    direct: bool = False
    path: Plan | None = None
    places: Places | None = None
    pieces: list[tuple[int, int]] = field(default_factory=list)
    ready: deque[tuple[int, int]] = field(default_factory=deque)
    told: set[int] = field(default_factory=set)
    reading: dict[int, tuple[object, int]] = field(default_factory=dict)
    scattering: dict[int, tuple[Copied, int]] = field(default_factory=dict)
    cooling: dict[int, tuple[float, int]] = field(default_factory=dict)
    left: int = 1
    broken: bool = False
    done: bool = False
    error: TransferError | None = None

    @property
    def over(self) -> bool:
        """Whether it is done or failed."""
        return self.done or self.error is not None

    def hear(self, piece: int, address: int, *, kept: bool) -> None:
        """Note that the owner has staged a piece, or had and kept it.

        Raises:
            ValueError: There is no such piece, or it was ready before.
        """
        if piece >= len(self.pieces) or piece in self.told:
            raise ValueError(f"piece {piece} of {len(self.pieces)} is not expected")
        was_read = self.early and not piece
        if was_read and not kept:
            self.forget_early()
        self.told.add(piece)
        if not (was_read and kept):
            self.ready.append((piece, address))

    @property
    def early(self) -> bool:
        """Whether the first piece is READ, and the owner has not said yet that it was kept."""
        return 0 in self.reading and 0 not in self.told and not self.direct

    def forget_early(self) -> None:
        """Note that what was READ early is of no use."""
        if self.early:
            self.reading[STALE] = self.reading.pop(0)

    @property
    def settled(self) -> bool:
        """Whether nothing writes to the blocks any more."""
        return not self.scattering and not (self.direct and (self.reading or self.cooling))

    @property
    def quiet(self) -> bool:
        """Whether nothing of it goes on any more, in staging memory either."""
        return self.over and not (self.reading or self.scattering or self.cooling)


class Receiver:
    """Reads into one region.

    Args:
        store: The region.
        cost: When to go without staging.
        timeout_seconds: Limit of one transfer.
        most_bytes_per_second: What is read through staging at most; None for no limit.
    """

    def __init__(
        self,
        store: Store,
        *,
        cost: Cost,
        timeout_seconds: float = 60.0,
        most_bytes_per_second: float | None = None,
    ) -> None:
        self._agent, self._region, self._layout = store.agent, store.region, store.layout
        self._address = region_of(store.region).address
        self._mover, self._slots = store.mover, store.slots
        self._cost, self._timeout = cost, timeout_seconds
        self._most, self._next_at = most_bytes_per_second, 0.0
        self._arrivals: dict[str, Arrival] = {}
        self._prefix, self._numbers = uuid.uuid4().hex, itertools.count()
        self._greeted: set[str] = set()

    @property
    def transfers(self) -> int:
        """Transfers that go on, or failed and have READs that may still write."""
        return len(self._arrivals)

    @property
    def awaited(self) -> int:
        """Transfers that are neither done nor failed."""
        return sum(not arrival.over for arrival in self._arrivals.values())

    def start(self, wanted: Wanted, blocks: Sequence[int]) -> Arrival:
        """Begin to read an offer.

        Args:
            wanted: The offer.
            blocks: Blocks to read into, in the order of the positions.

        Raises:
            ShapeMismatch: The owner's cache is no cache for this one.
            TransferError: The owner cannot be asked.
        """
        size = min(self._slots.slot_bytes, wanted.slot_bytes)
        try:
            lanes = lanes_of(wanted.layout, self._layout, wanted.share)
        except LayoutMismatch as error:
            raise ShapeMismatch(str(error)) from None
        nbytes = lanes.nbytes(wanted.tokens)
        arrival = Arrival(
            f"{self._prefix}-{next(self._numbers)}",
            wanted,
            blocks,
            nbytes,
            lanes.row_bytes,
            time.monotonic() + self._timeout,
        )
        # No plan has fewer segments than lanes. Where these are too many already, there is no need of a plan
        # before the first READ is under way.
        if self._goes_direct(wanted, len(lanes.source), nbytes, size) and self._goes_direct(
            wanted, (path := self._plan(wanted, wanted.blocks, blocks)).most_segments, nbytes, size
        ):
            self._read_directly(arrival, path)
        else:
            try:
                arrival.pieces = pieces(nbytes // lanes.row_bytes, lanes.row_bytes, size)
            except ValueError as error:
                raise ShapeMismatch(str(error)) from None
            arrival.left = len(arrival.pieces)
            self._begin(arrival, size)
        self._arrivals[arrival.name] = arrival
        return arrival

    def _begin(self, arrival: Arrival, size: int) -> None:
        """READ the first piece, if it is staged already, and ask for the rest."""
        wanted = arrival.wanted
        text = target_text(self._layout, wanted.share)
        try:
            address = wanted.ahead.get(reader_key(text, size))
            if address and time.monotonic() >= self._next_at and not self._hangs(wanted.peer):
                self._begin_read(arrival, 0, address, write("early", arrival.name))
            self._ask(arrival, Want(self._agent.name, wanted.offer, text, size))
        except TransferError as error:
            if arrival.reading:  # its slot is not free before that is over
                arrival.error = error
                self._arrivals[arrival.name] = arrival
            raise

    def _hangs(self, peer: str) -> bool:
        """Whether a READ from an owner hangs: before that answers, no further slot is given to it."""
        return any(
            each.over and each.reading and each.wanted.peer == peer for each in self._arrivals.values()
        )

    def abandon(self, arrival: Arrival, error: TransferError) -> None:
        """Give a transfer up: nothing is scattered any more, and the owner is told."""
        if arrival.over:
            return
        arrival.error = error
        arrival.ready.clear()
        if not arrival.direct:
            if isinstance(error, TransferTimeout):
                # Perhaps the owner cannot answer: it is to connect anew before it is asked again.
                self._greeted.discard(arrival.wanted.peer)
            with contextlib.suppress(TransferError):  # an owner that is gone gives up by itself
                self._agent.notify(arrival.wanted.peer, write("drop", arrival.name))

    def forget(self, peer: str) -> None:
        """Greet an owner anew when it is asked again: the connection was closed."""
        self._greeted.discard(peer)

    def take(self, note: Note) -> None:
        """Follow an owner's note."""
        arrival = self._arrivals.get(note.transfer)
        if arrival is None or arrival.over:
            return
        try:
            match note.kind:
                case "ready" | "kept":
                    arrival.hear(*note.numbers(2), kept=note.kind == "kept")
                case "busy" if not arrival.told and not arrival.direct:
                    wanted = arrival.wanted
                    arrival.forget_early()
                    self._read_directly(arrival, self._plan(wanted, wanted.blocks, arrival.blocks))
                case "refused":
                    arrival.error = TransferError(f"the owner of the KV cache refuses: {note.rest}")
        except ValueError as error:
            log.warning("an owner's note is of no use: %s", error)
        except TransferError as error:
            self.abandon(arrival, error)

    def step(self) -> bool:
        """Go on with everything that can go on; whether anything did."""
        moved = False
        for name, arrival in list(self._arrivals.items()):
            try:
                # The wire first: a READ takes the longest.
                moved |= self._begin_reads(arrival)
                moved |= self._find_places(arrival) or self._finish_read(arrival)
            except TransferError as error:
                self.abandon(arrival, error)
            moved |= self._finish_scatters(arrival)
            if not arrival.over and time.monotonic() > arrival.deadline:
                self.abandon(
                    arrival, TransferTimeout(f"the KV cache did not arrive within {self._timeout:g} s")
                )
            moved |= self._cool(arrival)
            if arrival.quiet:
                del self._arrivals[name]
                moved = True
        return moved

    def _ask(self, arrival: Arrival, asked: Want) -> None:
        peer = arrival.wanted.peer
        if peer not in self._greeted:
            metadata = base64.b64encode(self._agent.metadata()).decode()
            self._agent.notify(peer, write("hello", self._agent.name, metadata))
            self._greeted.add(peer)
        self._agent.notify(peer, want(arrival.name, asked))

    def _goes_direct(self, wanted: Wanted, segments: int, nbytes: int, size: int) -> bool:
        """Whether so many segments are read as they are."""
        if not wanted.complete:
            return False
        hanging = sum(
            len(each.reading) + len(each.cooling)
            for each in self._arrivals.values()
            if each.over and not each.direct
        )
        if not size or self._slots.count - hanging < 2:  # noqa: PLR2004 - one for the wire, one for the copy
            return True
        return self._cost.prefers_direct(segments, nbytes, size)

    def _plan(self, wanted: Wanted, theirs: Sequence[int], ours: Sequence[int]) -> Plan:
        """Plan what goes where.

        Raises:
            ShapeMismatch: The blocks of a side do not hold the prompt.
        """
        try:
            return plan(wanted.layout, self._layout, theirs, ours, tokens=wanted.tokens, share=wanted.share)
        except ValueError as error:
            raise ShapeMismatch(str(error)) from None

    def _read_directly(self, arrival: Arrival, path: Plan) -> None:
        wanted, found = arrival.wanted, path.segments()
        spans = [
            Span(self._address + target, wanted.address + source, length)
            for source, target, length in zip(*(part.tolist() for part in found), strict=True)
        ]
        note = read_note(wanted.offer, wanted.share.layers.count)
        arrival.reading[0] = (self._agent.read(wanted.peer, wanted.gpu, spans, note), NO_SLOT)
        arrival.direct = True

    def _begin_reads(self, arrival: Arrival) -> bool:
        moved = False
        while arrival.ready and time.monotonic() >= self._next_at:
            piece, address = arrival.ready[0]
            if not self._begin_read(arrival, piece, address, write("taken", arrival.name, piece)):
                break
            arrival.ready.popleft()
            moved = True
        return moved

    def _begin_read(self, arrival: Arrival, piece: int, address: int, note: bytes) -> bool:
        """READ a piece into a slot; whether there is one."""
        slot = self._slots.take()
        if slot is None:
            return False
        span = Span(self._slots.address(slot), address, arrival.pieces[piece][1] * arrival.row_bytes)
        try:
            handle = self._agent.read(arrival.wanted.peer, arrival.wanted.gpu, [span], note)
        except TransferError:
            self._slots.give(slot)
            raise
        arrival.reading[piece] = (handle, slot)
        if self._most:
            self._next_at = max(self._next_at, time.monotonic()) + span.length / self._most
        return True

    def _find_places(self, arrival: Arrival) -> bool:
        """Find where rows go while the first READ is under way, and no later than it is over.

        That takes two steps: between them the next READ can begin.
        """
        if arrival.places or not arrival.reading or arrival.over or arrival.direct:
            return False
        wanted = arrival.wanted
        if arrival.path is None:
            # Where they are is the owner's matter alone.
            theirs = range(wanted.layout.blocks_for(wanted.tokens))
            arrival.path = self._plan(wanted, theirs, arrival.blocks)
        else:
            arrival.places = self._mover.places(arrival.path, of_source=False)
        return True

    def _finish_read(self, arrival: Arrival) -> bool:
        """Scatter the next piece if it has arrived."""
        for piece, (handle, slot) in arrival.reading.items():
            if not piece and arrival.early and not arrival.over:
                return False
            try:
                if not self._agent.is_done(handle):
                    return False
            except TransferError:
                del arrival.reading[piece]
                arrival.broken = True
                arrival.cooling[piece] = (time.monotonic() + SETTLE_SECONDS, slot)
                with contextlib.suppress(TransferError):
                    self._agent.release(handle)
                raise
            del arrival.reading[piece]
            if slot == NO_SLOT:
                arrival.done = arrival.error is None
            elif arrival.error or arrival.places is None or piece == STALE:
                self._slots.give(slot)
            else:
                first, rows = arrival.pieces[piece]
                staged = self._slots.array(slot)
                copied = self._mover.scatter(self._region, arrival.places, first, rows, staged)
                arrival.scattering[piece] = (copied, slot)
            self._agent.release(handle)
            return True
        return False

    def _cool(self, arrival: Arrival) -> bool:
        """Give back slots of READs that failed: parts of one may end a little later than the first."""
        cold = [piece for piece, (until, _) in arrival.cooling.items() if time.monotonic() > until]
        for piece in cold:
            _, slot = arrival.cooling.pop(piece)
            if slot != NO_SLOT:
                self._slots.give(slot)
        return bool(cold)

    def _finish_scatters(self, arrival: Arrival) -> bool:
        moved = False
        for piece, (copied, slot) in list(arrival.scattering.items()):
            if copied():
                del arrival.scattering[piece]
                self._slots.give(slot)
                arrival.left -= 1
                moved = True
        if not arrival.left and not arrival.over:
            arrival.done = True
        return moved
