"""Plans between layouts: what is copied, by an independent reading of both, and in how few pieces."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_worker.kv.cache import AXES, Axis, CacheLayout, LayoutMismatch, shares
from disagg_worker.kv.mover import NumpyMover
from disagg_worker.kv.planner import plan
from disagg_worker.layers import Layers

OUTER: list[Axis] = ["layer", "kv", "block", "head", "token"]
ORDERS: list[tuple[Axis, ...]] = [(*order, "dim") for order in permutations(OUTER)]
MODEL = CacheLayout(layers=4, kv_heads=8, head_dim=2, block_tokens=2, dtype="float16", blocks=16)


def ranks(layout: CacheLayout, tensor: int, stages: int) -> list[CacheLayout]:
    """All ranks of a worker."""
    each = layout.layers // stages
    return [
        replace(layout, tp_rank=rank, tp_size=tensor, held=Layers(stage * each, (stage + 1) * each))
        for stage in range(stages)
        for rank in range(tensor)
    ]


def named(layout: CacheLayout, memory: np.ndarray) -> np.ndarray:
    """View a region as `[layer, kv, block, head, token, dim]`."""
    view = memory.view(np.uint16).reshape(layout.shape)
    wanted: list[Axis] = ["layer", "kv", "block", "head", "token", "dim"]
    return view.transpose([layout.axes.index(axis) for axis in wanted])


def filled(layout: CacheLayout, blocks: list[int], tokens: int) -> np.ndarray:
    """A region whose elements tell where in the prompt they belong; the rest is -1."""
    memory = np.full(layout.nbytes, 0xFF, dtype=np.uint8)
    view = named(layout, memory)
    kinds = layout.length("kv")
    for position in range(tokens):
        block, token = blocks[position // layout.block_tokens], position % layout.block_tokens
        for at, layer in enumerate(range(layout.own_layers.first, layout.own_layers.end)):
            for kind in range(kinds):
                for number, head in enumerate(layout.own_heads):
                    value = (((layer * kinds + kind) * layout.kv_heads + head) * 64 + position) * 4
                    view[at, kind, block, number, token, :] = value + np.arange(layout.head_dim)
    return memory


@settings(max_examples=80, deadline=None)
@given(
    orders=st.tuples(st.sampled_from(ORDERS), st.sampled_from(ORDERS)),
    tensor=st.sampled_from([(1, 1), (1, 2), (2, 1), (4, 2), (2, 8), (8, 1), (1, 16)]),
    stages=st.sampled_from([(1, 1), (2, 1), (1, 2), (4, 2)]),
    block_tokens=st.sampled_from([(2, 2), (2, 4), (4, 2), (4, 6)]),
    latent=st.booleans(),
    tokens=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_every_element_arrives_once_and_no_other_byte_is_written(
    *,
    orders: tuple[tuple[Axis, ...], tuple[Axis, ...]],
    tensor: tuple[int, int],
    stages: tuple[int, int],
    block_tokens: tuple[int, int],
    latent: bool,
    tokens: int,
    seed: int,
) -> None:
    model = replace(MODEL, latent=True, kv_heads=1, head_dim=3) if latent else MODEL
    sides = [
        ranks(replace(model, axes=order, block_tokens=size), ways, parts)
        for order, size, ways, parts in zip(orders, block_tokens, tensor, stages, strict=True)
    ]
    random = np.random.default_rng(seed)
    blocks = [random.permutation(model.blocks)[: side[0].blocks_for(tokens)].tolist() for side in sides]
    sources, targets = sides
    whole = sources[0].blocks_for(tokens) * sources[0].block_tokens
    memories = [filled(source, blocks[0], whole) for source in sources]
    mover = NumpyMover()
    for target in targets:
        arrived = np.full(target.nbytes, 0xFF, dtype=np.uint8)
        written = np.zeros(target.nbytes, dtype=np.uint8)
        for share in shares(sources, target):
            path = plan(sources[share.source], target, blocks[0], blocks[1], tokens=tokens, share=share)
            staging = mover.allocate(path.nbytes)
            from_, to = (mover.places(path, of_source=side) for side in (True, False))
            mover.gather(memories[share.source], from_, 0, path.rows, staging)
            mover.scatter(arrived, to, 0, path.rows, staging)
            pieces = path.segments()
            assert len(pieces.length) <= path.most_segments
            for source_at, at, length in zip(*pieces, strict=True):
                written[at : at + length] += 1
                assert np.array_equal(
                    memories[share.source][source_at : source_at + length], arrived[at : at + length]
                )
        assert written.max() == 1
        unit = np.gcd(*block_tokens)
        copied = -(-tokens // unit) * unit
        expected = filled(target, blocks[1], min(copied, target.blocks_for(tokens) * target.block_tokens))
        assert np.array_equal(arrived, expected)
        assert np.array_equal(written == 1, named_bytes(target, expected))


def named_bytes(layout: CacheLayout, memory: np.ndarray) -> np.ndarray:
    """Which bytes belong to an element that was filled."""
    return np.repeat(memory.view(np.uint16) != 0xFFFF, layout.item_bytes)


def test_a_block_that_is_contiguous_on_both_sides_is_one_segment_and_neighbours_merge() -> None:
    layout = replace(MODEL, axes=("block", "layer", "kv", "head", "token", "dim"))
    path = plan(layout, layout, [3, 4, 5, 9], [7, 8, 9, 1], tokens=8)
    assert path.segments().length.tolist() == [layout.nbytes // 16, 3 * layout.nbytes // 16]
    assert path.most_segments == 2


def test_plans_are_no_larger_than_needed_for_long_prompts() -> None:
    llama = CacheLayout(80, 8, 128, 16, "bfloat16", 8192, tp_size=2)
    path = plan(llama, llama, range(8192), range(8191, -1, -1), tokens=131072)
    assert (path.units, len(path.lanes.source), path.lanes.length) == (8192, 160, 16384)
    assert path.lanes.row_bytes == 16384


def test_what_is_computed_first_comes_first() -> None:
    path = plan(MODEL, MODEL, range(4), range(4), tokens=8)
    each = path.rows // MODEL.layers
    assert [path.rows_until(layer) for layer in range(5)] == [0, each, 2 * each, 3 * each, 4 * each]


def test_readers_of_a_latent_spread_over_the_ranks_that_hold_it() -> None:
    latent = CacheLayout(2, 1, 576, 64, "bfloat16", 4, latent=True)
    sources = ranks(latent, 2, 1)
    found = [shares(sources, target)[0].source for target in ranks(latent, 4, 1)]
    assert found == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"dtype": "float8_e4m3"},
            "dtype is float16 in the KV cache that is read and float8_e4m3 in the one",
        ),
        ({"head_dim": 4}, "head_dim is 2 in"),
        ({"layers": 8}, "layers is 4 in"),
        ({"latent": True, "kv_heads": 1}, "latent is False in"),
    ],
)
def test_another_cache_is_refused_with_the_field_and_both_values(change: dict[str, int], words: str) -> None:
    other = replace(MODEL, **change)  # type: ignore[arg-type]
    with pytest.raises(LayoutMismatch, match=words):
        plan(MODEL, other, [0], [0], tokens=1)
    with pytest.raises(LayoutMismatch, match=words):
        shares([MODEL], other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "fp8"}, "dtype is fp8; write one of float32"),
        ({"axes": ("layer", "kv", "block", "head", "dim", "token")}, "dim last"),
        ({"tp_size": 3}, "tp_size is 3; write a divisor or a multiple of the 8 kv_heads"),
        ({"tp_rank": 1}, "tp_rank is 1; write one from 0 to 0"),
        ({"blocks": 0}, "blocks is 0; write 1 or more"),
        ({"latent": True}, "kv_heads is 8; a latent has 1"),
        ({"held": Layers(2, 5)}, "held is layers 2 to 4; the model has 4"),
    ],
)
def test_impossible_layouts_name_the_field(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(MODEL, **change)  # type: ignore[arg-type]


def test_missing_ranks_and_blocks_are_refused() -> None:
    with pytest.raises(LayoutMismatch, match="no rank holds head 4 of layers 0 to 3"):
        shares([replace(MODEL, tp_size=2)], MODEL)
    with pytest.raises(LayoutMismatch, match="the ranks do not hold layers 0 to 3 once each"):
        shares([replace(MODEL, held=Layers(0, 2))], MODEL)
    with pytest.raises(ValueError, match="source_blocks has 1 blocks; 3 tokens need 2"):
        plan(MODEL, MODEL, [0], [0, 1], tokens=3)
    with pytest.raises(ValueError, match="target_blocks names a block outside of 0 to 15"):
        plan(MODEL, MODEL, [0], [16], tokens=1)
    assert set(MODEL.axes) == AXES
