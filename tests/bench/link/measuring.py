"""What is measured, between which sides, in which order. The figures are plain JSON values."""

import itertools
import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from bench.link import shapes, side
from bench.side import Side
from disagg_worker.kv.cache import CacheLayout, shares
from disagg_worker.transfer.staged.notes import layout_json, target_text

MIB = 1 << 20
Figures = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Machine:
    """Where it is measured.

    Attributes:
        places: GPU numbers of source and reader, or `cpu`.
        memory: Bytes of cache on each side.
        lengths: Tokens of prompts.
        slot_bytes: Size of a staging slot.
        slots: Slots on each side.
        times: How often each is repeated.
        longest_by_block: Most descriptors of a READ block by block: beyond, that takes seconds.
    """

    places: tuple[str, str]
    memory: int
    lengths: tuple[int, ...]
    slot_bytes: int
    slots: int
    times: int
    longest_by_block: int


GPUS = Machine(("0", "1"), 35 << 30, (128, 1024, 4096, 16384, 131072), 128 * MIB, 4, 21, 200_000)
CPU = Machine(("cpu", "cpu"), 384 * MIB, (128, 512, 1024), 4 * MIB, 4, 5, 100_000)


@dataclass
class Pair:
    """Two connected sides."""

    machine: Machine
    source: Side
    reader: Side
    device: str = ""
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - repeatable

    def blocks(self, layout: CacheLayout) -> list[int]:
        """All blocks of a region in random order, as after long service."""
        return self.chance.sample(range(layout.blocks), layout.blocks)


@contextmanager
def pair(
    machine: Machine, memory: int, environment: Mapping[str, str], settings: Mapping[str, Any]
) -> Iterator[Pair]:
    """Start two sides with a configuration of NIXL."""
    source, reader = (
        Side([sys.executable, side.__file__, place], {"PYTHONPATH": os.pathsep.join(sys.path), **environment})
        for place in machine.places
    )
    try:
        told = [
            _ask(each, "open", nbytes=memory, staging=machine.slots * machine.slot_bytes, settings=settings)
            for each in (source, reader)
        ]
        _ask(reader, "connect", peer=told[0])
        _ask(source, "connect", peer=told[1])
        yield Pair(machine, source, reader, told[1]["device"])
    finally:
        source.end()
        reader.end()


def staged(
    it: Pair, far: CacheLayout, near: CacheLayout, tokens: int, *, times: int = 0, mode: str = "staged",
    slot_bytes: int = 0, slots: int = 0, check: bool = True, seconds_per_layer: float | None = None,
) -> tuple[Figures, Any, list[int]]:  # fmt: skip
    """Read a prompt as the engine does; check every element once; returns figures, what was wanted, where."""
    machine = it.machine
    far, near = shapes.holding(far, tokens), shapes.holding(near, tokens)
    slot_bytes, slots = slot_bytes or machine.slot_bytes, slots or machine.slots
    (share,) = [each for each in shares(_ranks(far), near) if each.source == far.tp_rank]
    share = replace(share, source=0)
    theirs, ours = it.blocks(far), it.blocks(near)
    wanted = {"layout": layout_json(far), "target": layout_json(near), "blocks": theirs, "tokens": tokens,
              "text": target_text(near, share)}  # fmt: skip
    staging = [slots, slot_bytes]
    served = _ask(
        it.source,
        "serve",
        layout=layout_json(far),
        slots=staging,
        blocks=theirs,
        tokens=tokens,
        seconds_per_layer=seconds_per_layer,
    )
    wanted["offer"] = served["offer"]
    told = _ask(
        it.reader,
        "ours",
        wanted=wanted,
        slots=staging,
        blocks=ours,
        mode=mode,
        times=times or machine.times,
        clear=check,
    )
    size = tokens * near.token_bytes * len(share.heads) // len(near.own_heads)
    figures = {"bytes": size, "seconds": median(told["seconds"]), "all_seconds": told["seconds"],
               "begun": served["begun"], "done": told["done"]}  # fmt: skip
    if check:
        heads = list(share.heads)
        digests = [
            _ask(each, "digest", layout=layout_json(layout), blocks=blocks, tokens=tokens, heads=heads)[
                "digest"
            ]
            for each, layout, blocks in ((it.source, far, theirs), (it.reader, near, ours))
        ]
        figures["whole"] = digests[0] == digests[1]
    return figures, wanted, ours


def models(it: Pair, progress: Progress) -> list[Figures]:
    """Every model at every length that fits: ours, block by block, in one piece, and copied."""
    rows = []
    for name, layout in shapes.MODELS.items():
        for tokens in it.machine.lengths:
            if tokens * layout.token_bytes > _memory(it):
                continue
            progress(f"{name}, {tokens} tokens")
            few = 3 if tokens * layout.token_bytes > 4 << 30 else 0
            found, wanted, blocks = staged(it, layout, layout, tokens, times=few)
            row = {"model": name, "tokens": tokens, **found, **_others(it, found["bytes"])}
            pieces = tokens * layout.token_bytes // _piece(layout)
            if pieces <= it.machine.longest_by_block:
                block = _ask(it.reader, "by_block", wanted=wanted, blocks=blocks, times=3)
                row |= {"by_block": median(block["seconds"]), "piece": block["piece"]}
            rows.append(row)
    return rows


def changes(it: Pair, progress: Progress) -> list[Figures]:
    """Layouts that differ, with prompts of several lengths."""
    rows = []
    for name, (far, near) in shapes.CHANGES.items():
        for tokens in it.machine.lengths[1:-1]:
            if tokens * max(far.token_bytes, near.token_bytes) > _memory(it):
                continue
            progress(f"{name}, {tokens} tokens")
            found, _, _ = staged(it, far, near, tokens)
            rows.append({"change": name, "tokens": tokens, **found, **_others(it, found["bytes"])})
    return rows


def break_even(it: Pair, progress: Progress, totals: Sequence[int], sizes: Sequence[int]) -> list[Figures]:
    """The same bytes in pieces of growing size, through staging memory and without it."""
    rows = []
    for total in totals:
        for size in sizes:
            if total // size < 1 or total // size > it.machine.longest_by_block:
                continue
            progress(f"{total // MIB} MiB in pieces of {size >> 10} KiB")
            layout = shapes.of_piece(size, total)
            both = {
                mode: staged(it, layout, layout, layout.blocks, mode=mode, check=False, times=5)[0]["seconds"]
                for mode in side.MODES
            }
            rows.append({"bytes": total, "piece": size, **both})
    return rows


def staging_sizes(
    it: Pair, progress: Progress, tokens: int, sizes: Sequence[tuple[int, int]]
) -> list[Figures]:
    """The same prompt through staging memory of several sizes."""
    rows = []
    for slot_bytes, slots in sizes:
        progress(f"{slots} staging slots of {slot_bytes // MIB} MiB")
        layout = shapes.LLAMA_70B
        found, _, _ = staged(it, layout, layout, tokens, slot_bytes=slot_bytes, slots=slots, check=False)
        rows.append({"slot_bytes": slot_bytes, "slots": slots, **found})
    return rows


def layerwise(it: Pair, progress: Progress, tokens: int, layer_seconds: Sequence[float]) -> list[Figures]:
    """How long after the last layer was computed the prompt is all there."""
    rows = []
    layout = shapes.LLAMA_70B
    for each in layer_seconds:
        progress(f"a layer every {each * 1e6:.0f} us")
        found, _, _ = staged(it, layout, layout, tokens, times=1, check=False, seconds_per_layer=each)
        tail = found["done"] - (found["begun"] + layout.layers * each)
        rows.append({"layer_seconds": each, "tokens": tokens, "bytes": found["bytes"], "tail_seconds": tail})
    piece = median(_ask(it.reader, "one_piece", nbytes=rows[0]["bytes"], times=it.machine.times)["seconds"])
    return [{**row, "one_piece": piece} for row in rows]


def breakdown(it: Pair, progress: Progress, lengths: Sequence[int]) -> list[Figures]:
    """What of a prompt's time the wire had nothing to do."""
    rows = []
    for (name, model), tokens in itertools.product(shapes.MODELS.items(), lengths):
        if tokens * model.token_bytes > _memory(it):
            continue
        progress(f"where the time of {tokens} tokens of {name} goes")
        layout = shapes.holding(model, tokens)
        _, wanted, blocks = staged(it, layout, layout, tokens, times=1, check=False)
        slots = [it.machine.slots, it.machine.slot_bytes]
        told = _ask(it.reader, "breakdown", wanted=wanted, slots=slots, blocks=blocks, times=it.machine.times)
        one = _ask(it.reader, "one_piece", nbytes=tokens * layout.token_bytes, times=it.machine.times)
        rows.append({"model": name, "tokens": tokens, **told, "one_piece": median(one["seconds"])})
    return rows


def beside_decode(
    it: Pair, progress: Progress, tokens: int, rates: Sequence[tuple[float | None, float | None]]
) -> list[Figures]:
    """Steps of decode while prompts arrive at several rates, of which so many bytes/s are read at most."""
    rows = []
    layout = shapes.holding(shapes.LLAMA_70B, tokens)
    _, wanted, blocks = staged(it, layout, layout, tokens, times=1, check=False)
    for rate, most in rates:
        progress(f"decode beside {rate} prompts/s, {most} bytes/s at most")
        machine = it.machine
        slots = [machine.slots, machine.slot_bytes]
        told = _ask(
            it.reader, "decode", wanted=wanted, slots=slots, blocks=blocks, rate=rate, seconds=1.5, most=most
        )
        rows.append(
            {"rate": rate, "most": most, "tokens": tokens, "bytes": tokens * layout.token_bytes, **told}
        )
    return rows


SETTINGS: Mapping[str, tuple[Mapping[str, str], Mapping[str, Any]]] = {
    "as the worker has it": ({}, {}),
    "progress thread": ({}, {"enable_prog_thread": True}),
    "4 workers": ({}, {"num_threads": 4}),
    "rendezvous by get_zcopy": ({"UCX_RNDV_SCHEME": "get_zcopy"}, {}),
    "rendezvous by put_zcopy": ({"UCX_RNDV_SCHEME": "put_zcopy"}, {}),
    "cuda_ipc with 1 stream": ({"UCX_CUDA_IPC_MAX_STREAMS": "1"}, {}),
    "cuda_ipc with 64 events polled": ({"UCX_CUDA_IPC_MAX_POLL": "64"}, {}),
    "without the cuda_ipc cache": ({"UCX_CUDA_IPC_CACHE": "n"}, {}),
}


def settings(machine: Machine, progress: Progress, tokens: int) -> list[Figures]:
    """The same prompt with each setting of UCX and NIXL, in sides of its own."""
    rows = []
    layout = shapes.LLAMA_70B
    memory = tokens * layout.token_bytes
    for name, (environment, arguments) in SETTINGS.items():
        progress(name)
        try:
            with pair(machine, memory, environment, arguments) as it:
                found, wanted, blocks = staged(it, layout, layout, tokens)
                few = _ask(it.reader, "by_block", wanted=wanted, blocks=blocks, times=2)
                others = _others(it, found["bytes"])
                rows.append({"setting": name, "environment": dict(environment), "arguments": dict(arguments),
                             **found, **others, "by_block": median(few["seconds"])})  # fmt: skip
        except RuntimeError as error:
            rows.append({"setting": name, "failed": str(error)})
    return rows


def _others(it: Pair, size: int) -> Figures:
    few = 3 if size > 4 << 30 else it.machine.times
    return {
        "one_piece": median(_ask(it.reader, "one_piece", nbytes=size, times=few)["seconds"]),
        "copy": median(_ask(it.reader, "copy", nbytes=size, times=few)["seconds"]),
    }


def _ranks(layout: CacheLayout) -> list[CacheLayout]:
    return [replace(layout, tp_rank=rank) for rank in range(layout.tp_size)]


def _memory(it: Pair) -> int:
    return it.machine.memory


def _piece(layout: CacheLayout) -> int:
    return layout.block_tokens * layout.head_dim * layout.item_bytes * len(layout.own_heads)


def _ask(each: Side, verb: str, **arguments: Any) -> Figures:
    return each.ask(json.dumps([verb, arguments]))
