"""The owner's side: gathers what readers want into staging memory, as far as it is computed.

Everything here runs in the agent's thread, a step at a time. A slot belongs to one piece from its gathering
until the reader's READ of it is over; it comes back early when the reader drops the transfer, the offer is
shut or nothing was taken for `timeout_seconds`. What a late READ then finds in the slot is another's, and a
reader that dropped a transfer scatters nothing of it any more.

The first piece of an offer is gathered ahead, for the layouts that readers had last, while half of the slots
are free. The ticket says where it is, so that a reader may read it before it is answered. A transfer that
needs such a slot gets it: the reader is told whether it was `kept`, and what it read counts only then.

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
from disagg_worker.transfer.staged.notes import Note, Want, reader_key, target_of, wanted, write
from disagg_worker.transfer.staged.pieces import pieces
from disagg_worker.transfer.staged.store import Store

log = logging.getLogger(__name__)
TARGETS = 16
"""Layouts of readers that are remembered: plans for them are made with the offer, before anybody waits."""
REMEMBERED = 256
"""Notes that are kept of what is not offered or asked for yet, and names of offers that are over."""
Key = tuple[str, int]
"""What a reader has, as text, and the size of its pieces: readers of one key get the same pieces."""
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
    made: dict[Key, "_Made"] = field(default_factory=dict)


class _Made(NamedTuple):
    """A plan, of how many layers, where its rows are here, and how they are cut."""

    plan: Plan
    layers: int
    places: Places
    pieces: list[tuple[int, int]]


@dataclass
class _Ahead:
    """A first piece in its slot, before anybody asked for it; called, it says whether it is gathered."""

    slot: int
    copied: Copied
    over: bool = False

    def __call__(self) -> bool:
        self.over = self.over or self.copied()
        return self.over


@dataclass
class _Sending:
    """A transfer to one reader.

    Attributes:
        offer: What is read.
        peer: The reader's agent.
        made: What is copied.
        moved_at: When something went on last.
        slots: Slots of pieces that were not taken yet, by the piece's number.
        gathering: Pieces that are being gathered, in their order.
        gathered: Pieces that were begun.
        kept: Whether the first of them was gathered before it was asked for.
    """

    offer: str
    peer: str
    made: _Made
    moved_at: float
    slots: dict[int, int] = field(default_factory=dict)
    gathering: deque[tuple[int, Copied]] = field(default_factory=deque)
    gathered: int = 0
    kept: bool = False

    @property
    def left(self) -> bool:
        """Whether there are pieces that were not begun."""
        return self.gathered < len(self.made.pieces)

    def add(self, slot: int, copied: Copied | None) -> None:
        """Count the next piece as begun; None if it is gathered and the reader told."""
        self.slots[self.gathered] = slot
        if copied:
            self.gathering.append((self.gathered, copied))
        self.gathered += 1


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
        self._premature: deque[tuple[str, Note]] = deque(maxlen=REMEMBERED)
        self._sending: dict[str, _Sending] = {}
        self._asked: OrderedDict[Key, Want] = OrderedDict()
        self._ahead: OrderedDict[tuple[str, Key], _Ahead] = OrderedDict()
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
        for key in reversed(self._asked):
            self._gather_ahead(name, key)
        self._take_premature(name)

    def computed(self, name: str, layer: int) -> None:
        """Note that of an offer all layers before `layer` are in memory; on a GPU their kernels are over."""
        self._offers[name].computed = layer

    def ahead(self, name: str) -> dict[str, int]:
        """Addresses of the first pieces of an offer that are gathered by now, by `reader_key`."""
        return {
            reader_key(*key): self._slots.address(ahead.slot)
            for (offer, key), ahead in self._ahead.items()
            if offer == name and ahead()
        }

    def shut(self, name: str) -> None:
        """End an offer and all that is read of it; its blocks may be used for something else."""
        if self._offers.pop(name, None):
            self._over.append(name)
        for ahead in [each for each in self._ahead if each[0] == name]:
            self._slots.give(self._ahead.pop(ahead).slot)
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
                case "early" if note.transfer not in self._sending:
                    # NIXL may send a READ's note before what was sent earlier.
                    self._premature.append((note.transfer, note))
                case "early" if self._sending[note.transfer].kept:
                    self._taken(note.transfer, 0)
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

    def _take_premature(self, name: str) -> None:
        """Follow the notes of an offer or a transfer that came before it was known."""
        for premature in [each for each in self._premature if each[0] == name]:
            self._premature.remove(premature)
            self.take(premature[1])

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
            self._premature.append((offer, note))
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
        sending = _Sending(asked.offer, asked.agent, made, time.monotonic())
        self._sending[note.transfer] = sending
        ahead = self._ahead.pop((asked.offer, _key(asked)), None)
        if ahead and not ahead():
            sending.add(ahead.slot, ahead)
        elif ahead:
            self._keep(note.transfer, sending, ahead.slot)
        self._take_premature(note.transfer)

    def _keep(self, name: str, sending: _Sending, slot: int) -> None:
        """Give a transfer the first piece, which its reader may have READ already."""
        sending.add(slot, None)
        sending.kept = True
        self._gather(sending)  # the second is in more of a hurry than the word of the first
        self._notify(sending.peer, write("kept", name, 0, self._slots.address(slot)))

    def _is_starved(self, sending: _Sending, now: float) -> bool:
        """Whether others keep all slots from a transfer that could begin."""
        return (
            not sending.gathered
            and not self._slots.free
            and now - sending.moved_at > BUSY_SECONDS
            and self._is_computed(sending.made, 0, sending.offer)
        )

    def _make(self, asked: Want) -> _Made:
        """Plan what is asked for, or take the plan that was made with the offer."""
        offer, key = self._offers[asked.offer], _key(asked)
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
        """Fill a slot with what is computed."""
        if not sending.left or not (self._slots.free or self._ahead):
            return False
        is_computed = self._is_computed(sending.made, sending.gathered, sending.offer)
        if not is_computed or (slot := self._free_slot()) is None:
            return False
        sending.add(slot, self._fill(slot, sending.made, sending.gathered))
        return True

    def _is_computed(self, made: _Made, piece: int, offer: str) -> bool:
        """Whether a piece can be copied by now."""
        first, rows = made.pieces[piece]
        return first + rows <= made.plan.rows_until(self._offers[offer].computed)

    def _fill(self, slot: int, made: _Made, piece: int) -> Copied:
        """Begin to gather a piece."""
        first, rows = made.pieces[piece]
        return self._mover.gather(self._region, made.places, first, rows, self._slots.array(slot))

    def _free_slot(self) -> int | None:
        """Take a slot; where none is free, the oldest of those that were filled ahead."""
        if not self._slots.free and self._ahead:
            _, ahead = self._ahead.popitem(last=False)
            self._slots.give(ahead.slot)
        return self._slots.take()

    def _gather_ahead(self, name: str, key: Key) -> None:
        """Gather the first piece of an offer for readers of a kind, if there is room for that."""
        made = self._offers[name].made[key]
        if self._slots.free > self._slots.count // 2 and self._is_computed(made, 0, name):
            slot = self._slots.take()
            if slot is not None:
                self._ahead[name, key] = _Ahead(slot, self._fill(slot, made, 0))

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


def _key(asked: Want) -> Key:
    return asked.target, asked.slot_bytes
