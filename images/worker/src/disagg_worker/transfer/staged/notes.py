"""What the two sides of a staged transfer tell each other, as NIXL notes."""

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
        kind: `hello`, `want` or `drop` of a reader, `taken` with its READ; `ready` or `refused` of an owner.
        transfer: Which transfer; of `hello` the reader's agent.
        rest: What else there is to say.
    """

    kind: str
    transfer: str
    rest: str

    @property
    def numbers(self) -> list[int]:
        """The rest as numbers."""
        return [int(word) for word in self.rest.split()]


def write(kind: str, transfer: str, *rest: object) -> bytes:
    """Write a note."""
    return " ".join((_WORD, kind, transfer, *map(str, rest))).encode()


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
    agent, offer, slot_bytes, target = rest.split(" ", 3)
    return Want(agent, offer, target, int(slot_bytes))


@lru_cache(maxsize=64)
def target_text(layout: CacheLayout, share: Share) -> str:
    """Write a reader's layout and what it reads of its owner's."""
    layers, heads = share.layers, share.heads
    numbers = [layers.first, layers.end, heads.start, heads.stop]
    return json.dumps([layout_json(layout), numbers], separators=(",", ":"))


@lru_cache(maxsize=64)
def target_of(text: str) -> tuple[CacheLayout, Share]:
    """Read what `target_text` wrote; the share is of source 0.

    Raises:
        ValueError: It did not write that; the text names the field.
    """
    layout, (first, end, start, stop) = json.loads(text)
    return layout_of(layout), Share(0, Layers(first, end), range(start, stop))


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
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the layout of a KV cache cannot be read: {error}") from None
