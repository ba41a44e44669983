"""KV cache through staging memory over real NIXL: what arrives, and what is left of a transfer that fails."""

import itertools
import json
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disagg_worker.kv.cache import CacheLayout, Share, shares
from disagg_worker.layers import Layers
from disagg_worker.transfer import PeerLost, ShapeMismatch, TransferError, TransferTimeout
from disagg_worker.transfer.staged import Arrival, Cost
from integration.worker.staged_side import Side, all_over, run

LAYOUT = CacheLayout(layers=6, kv_heads=8, head_dim=16, block_tokens=32, dtype="bfloat16", blocks=24)
STAGED_PROCESS = str(Path(__file__).with_name("staged_process.py"))


def name(side: str) -> str:
    return f"{side}-{uuid.uuid4().hex[:8]}"


def random_blocks(layout: CacheLayout, tokens: int, seed: int) -> list[int]:
    blocks: list[int] = np.random.default_rng(seed).permutation(layout.blocks).tolist()
    return blocks[: layout.blocks_for(tokens)]


def whole(layout: CacheLayout) -> Share:
    return Share(0, layout.own_layers, layout.own_heads)


def tokens_of(side: Side, blocks: list[int], tokens: int) -> np.ndarray:
    """What a side holds of a prompt: `[layer, kv, head, position, dim]`."""
    view = side.memory.view(np.uint16).reshape(side.layout.shape)
    order = [side.layout.axes.index(axis) for axis in ("layer", "kv", "head", "block", "token", "dim")]
    chosen = view.transpose(order)[:, :, :, blocks]
    held: np.ndarray = chosen.reshape(*chosen.shape[:3], -1, chosen.shape[-1])[:, :, :, :tokens]
    return held


def connected(*sides: Side) -> None:
    for one, other in itertools.permutations(sides, 2):
        one.agent.connect(other.agent.metadata())


def start(
    source: Side,
    target: Side,
    offer: str,
    blocks: tuple[list[int], list[int]],
    *,
    tokens: int,
    share: Share | None = None,
) -> Arrival:
    share = share or whole(source.layout)
    return target.receiver.start(source.wanted(offer, blocks[0], tokens, share), blocks[1])


def assert_nothing_is_held(*sides: Side) -> None:
    run(sides, lambda: all(not (side.sender.transfers or side.receiver.transfers) for side in sides))
    assert [side.staging.free for side in sides] == [side.slots for side in sides]


def test_prompts_arrive_whole_through_few_slots_at_once() -> None:
    source, target = Side(name("source"), LAYOUT), Side(name("target"), LAYOUT, slots=3)
    source.fill(1)
    connected(source, target)
    given = {"a": 300, "b": 64, "c": 1}
    blocks: dict[str, tuple[list[int], list[int]]] = {}
    free = [np.random.default_rng(seed).permutation(LAYOUT.blocks).tolist() for seed in (2, 3)]
    for offer, tokens in given.items():
        count = LAYOUT.blocks_for(tokens)
        here, there = ([side.pop() for _ in range(count)] for side in free)
        blocks[offer] = (here, there)
        source.sender.offer(offer, here, tokens)
    arrivals = [start(source, target, offer, blocks[offer], tokens=tokens) for offer, tokens in given.items()]
    assert not any(arrival.direct for arrival in arrivals)
    run((source, target), lambda: all_over(arrivals))
    assert [arrival.error for arrival in arrivals] == [None] * 3
    for offer, tokens in given.items():
        here, there = blocks[offer]
        assert np.array_equal(tokens_of(source, here, tokens), tokens_of(target, there, tokens))
    assert_nothing_is_held(source, target)


@pytest.mark.parametrize(
    ("from_", "to"),
    [
        pytest.param((1, 1, 32), (2, 1, 32), id="TP 1 to 2"),
        pytest.param((4, 1, 32), (2, 1, 32), id="TP 4 to 2"),
        pytest.param((2, 1, 32), (8, 1, 32), id="TP 2 to 8"),
        pytest.param((1, 2, 32), (1, 3, 32), id="PP 2 to 3"),
        pytest.param((1, 1, 32), (1, 1, 64), id="blocks of 32 to 64 tokens"),
        pytest.param((2, 2, 32), (1, 1, 64), id="everything"),
    ],
)
def test_prompts_arrive_whole_in_another_layout(
    from_: tuple[int, int, int], to: tuple[int, int, int]
) -> None:
    tokens = 200

    def ranks(role: str, shape: tuple[int, int, int], layout: CacheLayout) -> list[Side]:
        tensor, stages, size = shape
        return [
            Side(name(role), replace(layout, block_tokens=size, tp_rank=rank, tp_size=tensor, held=held))
            for held in (Layers(at * 6 // stages, (at + 1) * 6 // stages) for at in range(stages))
            for rank in range(tensor)
        ]

    other = replace(LAYOUT, axes=("block", "kv", "layer", "token", "head", "dim"))
    sides = [ranks("source", from_, LAYOUT), ranks("target", to, other)]
    sources, targets = sides
    blocks = [random_blocks(side[0].layout, tokens, seed) for seed, side in enumerate(sides)]
    for seed, source in enumerate(sources):
        source.fill(seed)
        source.sender.offer("prompt", blocks[0], tokens)
    arrivals = []
    for target in targets:
        for share in shares([source.layout for source in sources], target.layout):
            source = sources[share.source]
            target.agent.connect(source.agent.metadata())
            arrivals.append(
                start(source, target, "prompt", (blocks[0], blocks[1]), tokens=tokens, share=share)
            )
    run((*sources, *targets), lambda: all_over(arrivals))
    assert [arrival.error for arrival in arrivals] == [None] * len(arrivals)

    def model(ranks: list[Side], chosen: list[int]) -> np.ndarray:
        found = np.zeros((6, 2, 8, tokens, 16), dtype=np.uint16)
        for rank in ranks:
            own, heads = rank.layout.own_layers, rank.layout.own_heads
            found[own.first : own.end, :, heads.start : heads.stop] = tokens_of(rank, chosen, tokens)
        return found

    assert np.array_equal(model(sources, blocks[0]), model(targets, blocks[1]))
    assert_nothing_is_held(*sources, *targets)


def test_layers_leave_while_others_are_computed() -> None:
    source, target = Side(name("source"), LAYOUT, slots=40), Side(name("target"), LAYOUT, slots=40)
    connected(source, target)
    blocks = (random_blocks(LAYOUT, 100, 1), random_blocks(LAYOUT, 100, 2))
    source.sender.offer("prompt", blocks[0], 100, computed=0)
    wanted = source.wanted("prompt", blocks[0], 100, whole(LAYOUT), complete=False)
    arrival = target.receiver.start(wanted, blocks[1])
    filling = np.random.default_rng(5)

    def arrived(layers: int) -> bool:
        here, there = (tokens_of(*each, 100)[:layers] for each in ((source, blocks[0]), (target, blocks[1])))
        return np.array_equal(here, there)

    for layer in range(LAYOUT.layers):
        view = source.memory.view(np.uint16).reshape(LAYOUT.shape)
        view[layer] = filling.integers(0, 60000, view[layer].shape)
        source.sender.computed("prompt", layer + 1)
        if layer < LAYOUT.layers - 1:
            run((source, target), lambda: arrived(layer))  # noqa: B023 - called before the next layer
            assert not arrival.over
    run((source, target), lambda: arrival.over)
    assert np.array_equal(tokens_of(source, blocks[0], 100), tokens_of(target, blocks[1], 100))
    assert_nothing_is_held(source, target)


def test_large_blocks_are_read_as_they_are() -> None:
    layout = replace(LAYOUT, axes=("block", "layer", "kv", "head", "token", "dim"))
    source = Side(name("source"), layout)
    target = Side(name("target"), layout, cost=Cost(descriptor_seconds=1e-6))
    source.fill(1)
    connected(source, target)
    blocks = (random_blocks(layout, 300, 1), random_blocks(layout, 300, 2))
    arrival = start(source, target, "prompt", blocks, tokens=300)
    assert arrival.direct
    run((source, target), lambda: arrival.over)
    assert arrival.done
    assert np.array_equal(tokens_of(source, blocks[0], 300), tokens_of(target, blocks[1], 300))
    assert_nothing_is_held(source, target)


def test_a_transfer_that_is_given_up_frees_blocks_and_staging_on_both_sides() -> None:
    source, target = Side(name("source"), LAYOUT), Side(name("target"), LAYOUT)
    source.fill(1)
    connected(source, target)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    source.sender.offer("prompt", blocks[0], 300)
    arrival = start(source, target, "prompt", blocks, tokens=300)
    run((source, target), lambda: arrival.left < len(arrival.pieces))
    target.receiver.abandon(arrival, TransferError("cancelled"))
    run((target,), lambda: arrival.settled)
    before = target.memory.copy()
    assert_nothing_is_held(source, target)
    assert np.array_equal(before, target.memory)
    again = start(source, target, "prompt", blocks, tokens=300)
    run((source, target), lambda: again.over)
    assert again.done
    assert_nothing_is_held(source, target)


def test_an_offer_that_ends_in_mid_transfer_frees_staging_on_both_sides() -> None:
    source, target = Side(name("source"), LAYOUT), Side(name("target"), LAYOUT)
    connected(source, target)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    source.sender.offer("prompt", blocks[0], 300)
    arrival = start(source, target, "prompt", blocks, tokens=300)
    run((source, target), lambda: arrival.left < len(arrival.pieces))
    source.sender.shut("prompt")
    assert source.staging.free == source.slots
    arrival.deadline = time.monotonic()
    run((source, target), lambda: arrival.over)
    assert isinstance(arrival.error, TransferTimeout)
    assert_nothing_is_held(source, target)


def test_a_reader_that_vanishes_gives_its_slots_back_to_the_owner() -> None:
    source, target = Side(name("source"), LAYOUT, timeout=1.0), Side(name("target"), LAYOUT)
    connected(source, target)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    source.sender.offer("prompt", blocks[0], 300)
    start(source, target, "prompt", blocks, tokens=300)
    # What it asked arrives, but it READs nothing.
    run((source,), lambda: target.agent.notes() is not None and source.staging.free == 0)
    run((source,), lambda: source.staging.free == source.slots, steps=100_000_000)
    assert source.sender.transfers == 0


def test_what_does_not_fit_is_refused() -> None:
    source, target = Side(name("source"), LAYOUT), Side(name("target"), replace(LAYOUT, dtype="float16"))
    connected(source, target)
    with pytest.raises(ShapeMismatch, match="dtype is bfloat16 in the KV cache that is read and float16"):
        start(source, target, "prompt", ([0], [0]), tokens=1)
    target = Side(name("target"), LAYOUT)
    connected(source, target)
    source.sender.offer("prompt", [0], 1)
    source.sender.shut("prompt")
    arrival = start(source, target, "prompt", ([0], [0]), tokens=1)
    run((source, target), lambda: arrival.over)
    assert "the offer is over" in str(arrival.error)
    assert_nothing_is_held(source, target)


def test_an_owner_that_dies_in_mid_transfer_leaves_blocks_and_staging_free(
    start_child: Callable[[list[str]], Any],
) -> None:
    target = Side(name("target"), LAYOUT, timeout=60.0)
    peer = start_child([STAGED_PROCESS, name("source"), json.dumps(asdict(LAYOUT))])
    told = peer.ask({"offer": list(range(10)), "tokens": 300, "computed": 3})
    target.agent.connect(bytes.fromhex(told["metadata"]))
    wanted = replace(
        target.wanted("prompt", list(range(10)), 300, whole(LAYOUT), complete=False),
        peer=told["agent"], address=told["address"],
    )  # fmt: skip
    arrival = target.receiver.start(wanted, list(range(10)))
    run((target,), lambda: arrival.left < len(arrival.pieces), steps=100_000_000)
    peer.process.send_signal(signal.SIGKILL)
    peer.process.wait()
    # Nothing is under way when it dies, so that only the time limit tells; the connection's end would, too.
    target.receiver.abandon(arrival, PeerLost("gone"))
    until = time.monotonic() + 60
    while target.receiver.transfers and time.monotonic() < until:
        target.step()
    assert arrival.settled
    assert_nothing_is_held(target)


def known(source: Side, target: Side, blocks: tuple[list[int], list[int]]) -> None:
    """Read a first prompt: from then on the owner knows what its reader has."""
    source.fill(1)
    connected(source, target)
    source.sender.offer("first", blocks[0], 300)
    arrival = start(source, target, "first", blocks, tokens=300)
    run((source, target), lambda: arrival.over)
    source.sender.shut("first")
    assert_nothing_is_held(source, target)


def begun_early(
    source: Side, target: Side, blocks: tuple[list[int], list[int]], ahead: dict[str, int]
) -> Arrival:
    """Begin to read the second prompt as a ticket describes it that tells where its first piece is."""
    wanted = replace(source.wanted("second", blocks[0], 300, whole(LAYOUT)), ahead=ahead)
    arrival = target.receiver.start(wanted, blocks[1])
    assert list(arrival.reading) == [0]
    return arrival


def test_the_first_piece_is_staged_ahead_and_read_before_the_owner_answers() -> None:
    source, target = Side(name("source"), LAYOUT, slots=4), Side(name("target"), LAYOUT, slots=4)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    known(source, target, blocks)
    source.fill(2)
    source.sender.offer("second", blocks[0], 300)
    assert source.staging.used == 1
    arrival = begun_early(source, target, blocks, source.sender.ahead("second"))
    for _ in range(1000):
        target.step()
    # It may be there by now, but nothing is scattered that the owner does not stand by.
    assert arrival.left == len(arrival.pieces)
    run((source, target), lambda: arrival.over)
    assert arrival.done
    assert np.array_equal(tokens_of(source, blocks[0], 300), tokens_of(target, blocks[1], 300))
    source.sender.shut("second")
    assert_nothing_is_held(source, target)


def test_a_piece_that_had_to_give_its_slot_away_is_read_again() -> None:
    source, target = Side(name("source"), LAYOUT), Side(name("target"), LAYOUT, slots=4)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    known(source, target, blocks)
    source.sender.offer("second", blocks[0], 300)
    stale = source.sender.ahead("second")
    assert stale
    others = (random_blocks(LAYOUT, 200, 3), random_blocks(LAYOUT, 200, 4))
    source.sender.offer("other", others[0], 200)
    other = start(source, target, "other", others, tokens=200)
    run((source, target), lambda: other.over)
    assert_nothing_is_held(source, target)
    assert not source.sender.ahead("second")
    arrival = begun_early(source, target, blocks, stale)
    run((source, target), lambda: arrival.over)
    assert arrival.done
    assert np.array_equal(tokens_of(source, blocks[0], 300), tokens_of(target, blocks[1], 300))
    assert_nothing_is_held(source, target)


def test_what_was_staged_ahead_is_free_when_nobody_reads_it() -> None:
    source, target = Side(name("source"), LAYOUT, slots=4), Side(name("target"), LAYOUT)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    known(source, target, blocks)
    for offer in ("second", "third", "fourth"):
        source.sender.offer(offer, blocks[0], 300)
    assert source.staging.used == source.slots // 2  # the other half is left to transfers
    for offer in ("second", "third", "fourth"):
        source.sender.shut(offer)
    assert source.staging.free == source.slots


def test_reads_of_the_same_slots_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = Side(name("source"), LAYOUT), Side(name("target"), LAYOUT)
    blocks = (random_blocks(LAYOUT, 300, 1), random_blocks(LAYOUT, 300, 2))
    known(source, target, blocks)
    prepared = []
    prepare = target.agent._prepare

    def noted(*arguments: Any) -> Any:
        prepared.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(target.agent, "_prepare", noted)
    for seed in range(5):
        source.fill(seed)
        source.sender.offer("again", blocks[0], 300)
        arrival = start(source, target, "again", blocks, tokens=300)
        run((source, target), lambda: arrival.over)  # noqa: B023 - called before the next one
        assert np.array_equal(tokens_of(source, blocks[0], 300), tokens_of(target, blocks[1], 300))
        source.sender.shut("again")
    assert len(prepared) <= source.slots * target.slots  # each pair of slots, and not each of 5 times so many
    assert len(arrival.pieces) * 5 > source.slots * target.slots
    target.agent.disconnect(source.name)
    assert not target.agent._prepared
