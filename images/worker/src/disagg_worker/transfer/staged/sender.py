"""The owner's side: gathers what readers want into staging memory, as far as it is computed.

Everything here runs in the agent's thread, a step at a time. A slot belongs to one piece from its gathering
until the reader's READ of it is over; it comes back early when the reader drops the transfer, the offer is
shut or nothing was taken for `timeout_seconds`. What a late READ then finds in the slot is another's, and a
reader that dropped a transfer scatters nothing of it any more.

Readers' notes are another process's words: what makes no sense is logged, and changes nothing.
"""

import base64
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from disagg_worker.kv.mover import Copied, Places
from disagg_worker.kv.planner import Plan, plan
from disagg_worker.transfer.errors import TransferError
from disagg_worker.transfer.staged.notes import Note, Want, target_of, wanted, write
from disagg_worker.transfer.staged.pieces import pieces
from disagg_worker.transfer.staged.store import Store

log = logging.getLogger(__name__)
TARGETS = 16
"""Layouts of readers that are remembered: plans for them are made with the offer, before anybody waits."""
REMEMBERED = 256
"""Notes that are kept of what is not offered yet, and names of offers that are over."""
BUSY_SECONDS = 0.5
"""A reader that has waited so long for a first slot is told that there is none: it reads without staging."""


@dataclass
class _Offer:
    """Blocks that may be read.

    Attributes:
        blocks: In the order of the positions.
        tokens: Positions that are or will be filled.
        computed: The first layer that is not computed yet.
        made: Plans for readers, by what these have.
    """

    blocks: Sequence[int]
    tokens: int
    computed: int
    made: dict[tuple[str, int], "_Made"] = field(default_factory=dict)


class _Made(NamedTuple):
    """A plan, of how many layers, where its rows are here, and how they are cut."""

    plan: Plan
    layers: int
    places: Places
    pieces: list[tuple[int, int]]


@dataclass
class _Sending:
    """A transfer to one reader.

    Attributes:
        offer: What is read.
        peer: The reader's agent.
        made: What is copied.
        left: Pieces that are not gathered yet.
        slots: Slots of pieces that were not taken yet, by the piece's number.
        gathering: Pieces that are being gathered, in their order.
        gathered: Pieces that were begun.
        moved_at: When something went on last.
    """

    offer: str
    peer: str
    made: _Made
    left: deque[tuple[int, int]]
    moved_at: float
    slots: dict[int, int] = field(default_factory=dict)
    gathering: deque[tuple[int, Copied]] = field(default_factory=deque)
    gathered: int = 0


class Sender:
    """Serves readers from one region.

    Args:
        store: The region.
        timeout_seconds: How long a transfer may stand still.

    Attributes:
        on_read: Called with the name of an offer, and how many layers of it a reader has taken.
        on_refused: Called with the name of an offer that its reader will not read.
    """

    def __init__(self, store: Store, timeout_seconds: float = 60.0) -> None:
        self._agent, self._region, self._layout = store.agent, store.region, store.layout
        self._mover, self._slots, self._timeout = store.mover, store.slots, timeout_seconds
        self._offers: dict[str, _Offer] = {}
        self._over: deque[str] = deque(maxlen=REMEMBERED)
        self._early: deque[tuple[str, Note]] = deque(maxlen=REMEMBERED)
        self._sending: dict[str, _Sending] = {}
        self._asked: OrderedDict[tuple[str, int], Want] = OrderedDict()
        self._greeted: set[str] = set()
        self.on_read: Callable[[str, int], None] = lambda _, __: None
        self.on_refused: Callable[[str], None] = lambda _: None

    @property
    def transfers(self) -> int:
        """Transfers that are going on."""
        return len(self._sending)

    def offer(self, name: str, blocks: Sequence[int], tokens: int, computed: int | None = None) -> None:
        """Let blocks be read.

        Args:
            name: Of the offer.
            blocks: In the order of the positions.
            tokens: Positions.
            computed: The first layer that is not computed yet; all are if left out.
        """
        done = self._layout.own_layers.end if computed is None else computed
        self._offers[name] = _Offer(blocks, tokens, done)
        for asked in list(self._asked.values()):
            self._make(asked._replace(offer=name))
        for early in [early for early in self._early if early[0] == name]:
            self._early.remove(early)
            self.take(early[1])

    def computed(self, name: str, layer: int) -> None:
        """Note that of an offer all layers before `layer` are in memory; on a GPU their kernels are over."""
        self._offers[name].computed = layer

    def shut(self, name: str) -> None:
        """End an offer and all that is read of it; its blocks may be used for something else."""
        if self._offers.pop(name, None):
            self._over.append(name)
        for transfer in [key for key, each in self._sending.items() if each.offer == name]:
            self._end(transfer)

    def take(self, note: Note) -> None:
        """Follow a reader's note."""
        try:
            match note.kind:
                case "hello":
                    self._greet(note)
                case "want":
                    self._begin(note, wanted(note.rest))
                case "taken":
                    self._taken(note.transfer, *note.numbers(1))
                case "drop":
                    self._end(note.transfer)
                case "read":
                    if self._is_open(note.transfer, note):
                        self.on_read(note.transfer, *note.numbers(1))
                case "refuse":
                    if self._is_open(note.transfer, note):
                        self.on_refused(note.transfer)
        except (ValueError, TransferError) as error:
            log.warning("a reader's note is of no use: %s", error)

    def step(self) -> bool:
        """Go on with everything that can go on; whether anything did."""
        moved = False
        now = time.monotonic()
        for name, sending in list(self._sending.items()):
            # Two at once, and the reader hears of the first before there is a third.
            if self._tell(name, sending) | self._gather(sending) | self._gather(sending):
                sending.moved_at = now
                moved = True
            elif self._is_starved(sending, now):
                self._notify(sending.peer, write("busy", name))
                self._end(name)
            elif now - sending.moved_at > self._timeout:
                log.warning("reader %s took no KV for %g s; its transfer ends", sending.peer, self._timeout)
                self._end(name)
        return moved

    def _greet(self, note: Note) -> None:
        """Connect to a reader, anew where it greets again: its connection here may have broken."""
        if note.transfer in self._greeted:
            with contextlib.suppress(TransferError):
                self._agent.disconnect(note.transfer)
        self._agent.connect(base64.b64decode(note.rest, validate=True))
        self._greeted.add(note.transfer)

    def _is_open(self, offer: str, note: Note) -> bool:
        """Whether an offer stands; a note of one that may come yet is kept.

        Ranks beside the first one hear of an offer later than its reader may.
        """
        known = offer in self._offers
        if not known and offer not in self._over:
            self._early.append((offer, note))
        return known

    def _begin(self, note: Note, asked: Want) -> None:
        if note.transfer in self._sending:
            raise ValueError(f"transfer {note.transfer} is asked for twice")
        if not self._is_open(asked.offer, note):
            if asked.offer in self._over:
                self._notify(asked.agent, write("refused", note.transfer, "the offer is over"))
            return
        try:
            made = self._make(asked)
        except (ValueError, TypeError, OverflowError) as error:
            self._notify(asked.agent, write("refused", note.transfer, error))
            return
        sending = _Sending(asked.offer, asked.agent, made, deque(made.pieces), time.monotonic())
        self._sending[note.transfer] = sending

    def _is_starved(self, sending: _Sending, now: float) -> bool:
        """Whether others keep all slots from a transfer that could begin."""
        first, rows = sending.made.pieces[0]
        return (
            not sending.gathered
            and not self._slots.free
            and now - sending.moved_at > BUSY_SECONDS
            and first + rows <= self._computed_rows(sending)
        )

    def _make(self, asked: Want) -> _Made:
        """Plan what is asked for, or take the plan that was made with the offer."""
        offer = self._offers[asked.offer]
        key = (asked.target, asked.slot_bytes)
        made = offer.made.get(key)
        if made is None:
            if asked.slot_bytes > self._slots.slot_bytes:
                raise ValueError(
                    f"pieces of {asked.slot_bytes} bytes are asked for; slots here have "
                    f"{self._slots.slot_bytes}"
                )
            target, share = target_of(asked.target)
            units = range(target.blocks_for(offer.tokens))  # where they go is the reader's matter alone
            target = replace(target, blocks=max(target.blocks, len(units)))
            path = plan(self._layout, target, offer.blocks, units, tokens=offer.tokens, share=share)
            cut = pieces(path.rows, path.lanes.row_bytes, asked.slot_bytes)
            made = offer.made[key] = _Made(
                path, share.layers.count, self._mover.places(path, of_source=True), cut
            )
            self._asked[key] = asked
            self._asked.move_to_end(key)
            while len(self._asked) > TARGETS:
                self._asked.popitem(last=False)
        return made

    def _gather(self, sending: _Sending) -> bool:
        """Fill a free slot with what is computed."""
        if not sending.left or not self._slots.free:
            return False
        first, rows = sending.left[0]
        if first + rows > self._computed_rows(sending) or (slot := self._slots.take()) is None:
            return False
        sending.left.popleft()
        copied = self._mover.gather(self._region, sending.made.places, first, rows, self._slots.array(slot))
        sending.slots[sending.gathered] = slot
        sending.gathering.append((sending.gathered, copied))
        sending.gathered += 1
        return True

    def _computed_rows(self, sending: _Sending) -> int:
        """Rows of a transfer that can be copied by now."""
        return sending.made.plan.rows_until(self._offers[sending.offer].computed)

    def _tell(self, name: str, sending: _Sending) -> bool:
        """Tell the reader of the pieces whose gathering is over."""
        moved = False
        while sending.gathering and sending.gathering[0][1]():
            piece, _ = sending.gathering.popleft()
            if piece not in sending.slots:
                continue
            self._notify(sending.peer, write("ready", name, piece, self._slots.address(sending.slots[piece])))
            moved = True
        return moved

    def _taken(self, name: str, piece: int) -> None:
        sending = self._sending.get(name)
        if sending is None or piece not in sending.slots:
            return
        sending.moved_at = time.monotonic()
        self._slots.give(sending.slots.pop(piece))
        if not sending.left and not sending.slots:
            del self._sending[name]
            self.on_read(sending.offer, sending.made.layers)

    def _end(self, name: str) -> None:
        sending = self._sending.pop(name, None)
        if sending:
            # A gathering that still runs is followed by the next in its slot: the mover keeps their order.
            for slot in sending.slots.values():
                self._slots.give(slot)

    def _notify(self, peer: str, note: bytes) -> None:
        try:
            self._agent.notify(peer, note)
        except TransferError as error:
            log.warning("reader %s cannot be told: %s", peer, error)
