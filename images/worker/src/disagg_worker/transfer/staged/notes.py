"""What the two sides of a staged transfer tell each other, as NIXL notes."""

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from typing import Any, NamedTuple

from disagg_worker.kv.cache import CacheLayout, Share
from disagg_worker.layers import Layers

_WORD = "kv1"


class Note(NamedTuple):
    """A note.

    Attributes:
        kind: `hello`, `want`, `drop` or `refuse` of a reader, with its READs `taken`, `early` or `read`;
            `ready`, `kept`, `busy` or `refused` of an owner.
        transfer: Which transfer; of `hello` the reader's agent, of `read` and `refuse` the offer.
        rest: What else there is to say.
    """

    kind: str
    transfer: str
    rest: str

    def numbers(self, count: int) -> list[int]:
        """The rest as so many numbers.

        Raises:
            ValueError: It is something else.
        """
        words = self.rest.split()
        if len(words) != count or not all(word.isdecimal() for word in words):
            raise ValueError(f"{self.kind} comes with {self.rest[:80]!r} instead of {count} numbers")
        return [int(word) for word in words]


def write(kind: str, transfer: str, *rest: object) -> bytes:
    """Write a note."""
    return " ".join((_WORD, kind, transfer, *map(str, rest))).encode()


def read_note(offer: str, layers: int) -> bytes:
    """Write the note that comes with a READ of so many layers of an offer's blocks as they are."""
    return write("read", offer, layers)


def refuse_note(offer: str) -> bytes:
    """Write the note that nobody will read an offer's blocks."""
    return write("refuse", offer)


def parse(note: bytes) -> Note | None:
    """Read a note; None if it is another's."""
    word, _, rest = note.decode(errors="replace").partition(" ")
    if word != _WORD:
        return None
    kind, _, rest = rest.partition(" ")
    transfer, _, rest = rest.partition(" ")
    return Note(kind, transfer, rest)


class Want(NamedTuple):
    """What a reader asks for.

    Attributes:
        agent: The reader's agent.
        offer: The offer's name.
        target: What the reader has, as text that is equal for equal values.
        slot_bytes: How much fits into a piece.
    """

    agent: str
    offer: str
    target: str
    slot_bytes: int


def want(transfer: str, asked: Want) -> bytes:
    """Write the note by which a reader asks for an offer."""
    return write("want", transfer, asked.agent, asked.offer, asked.slot_bytes, asked.target)


def wanted(rest: str) -> Want:
    """Read what a reader asks for.

    Raises:
        ValueError: It is nothing that a reader writes.
    """
    words = rest.split(" ", 3)
    if len(words) != len(Want._fields) or not words[2].isdecimal():
        raise ValueError(f"want comes with {rest[:80]!r}")
    agent, offer, slot_bytes, target = words
    return Want(agent, offer, target, int(slot_bytes))


@lru_cache(maxsize=64)
def target_text(layout: CacheLayout, share: Share) -> str:
    """Write a reader's layout and what it reads of its owner's."""
    layers, heads = share.layers, share.heads
    numbers = [layers.first, layers.end, heads.start, heads.stop]
    return json.dumps([layout_json(layout), numbers], separators=(",", ":"))


@lru_cache(maxsize=64)
def reader_key(target: str, slot_bytes: int) -> str:
    """Name readers that get the same pieces, in a ticket."""
    return hashlib.sha256(f"{slot_bytes} {target}".encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def target_of(text: str) -> tuple[CacheLayout, Share]:
    """Read what `target_text` wrote; the share is of source 0.

    Raises:
        ValueError: It did not write that; the text names the field.
    """
    try:
        layout, (first, end, start, stop) = json.loads(text)
        share = Share(0, Layers(first, end), range(start, stop))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"what a reader has cannot be read: {error}") from None
    return layout_of(layout), share


def layout_json(layout: CacheLayout) -> dict[str, Any]:
    """Give a layout as JSON values."""
    return {**asdict(layout), "axes": list(layout.axes)}


def layout_of(value: dict[str, Any]) -> CacheLayout:
    """Read a layout from JSON values.

    Raises:
        ValueError: They are none; the text names the field.
    """
    try:
        held = value.get("held")
        given = {**value, "axes": tuple(value["axes"]), "held": Layers(**held) if held else None}
        return CacheLayout(**given)
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"the layout of a KV cache cannot be read: {error}") from None
