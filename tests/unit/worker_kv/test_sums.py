"""Sums of KV cache tell what differs, and nothing of how it is kept."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_worker.kv.sums import layer_sums
from disagg_worker.layers import Layers

LAYERS, HEADS, DIM, TOKENS = 3, 2, 4, 37
POSITIONS = np.random.default_rng(1).random((TOKENS, LAYERS, 2, HEADS, DIM), dtype=np.float32)


def pool_of(block_tokens: int, seed: int) -> tuple[Any, list[int]]:
    """A pool that holds `POSITIONS` in blocks of a size, at random places among others."""
    random = np.random.default_rng(seed)
    needed = -(-TOKENS // block_tokens)
    array = random.random((needed + 5, LAYERS, 2, HEADS, block_tokens, DIM), dtype=np.float32)
    blocks = random.permutation(needed + 5)[:needed].tolist()
    for position in range(TOKENS):
        block = blocks[position // block_tokens]
        array[block, :, :, :, position % block_tokens] = POSITIONS[position]
    return array, blocks


ALL = Layers(0, LAYERS)
_FIRST, _BLOCKS = pool_of(16, 0)
EXPECTED = layer_sums(_FIRST, ALL, _BLOCKS, TOKENS)


@given(block_tokens=st.sampled_from([1, 4, 16, 32, 64]), seed=st.integers(0, 1000))
def test_size_and_places_of_blocks_make_no_difference(block_tokens: int, seed: int) -> None:
    array, blocks = pool_of(block_tokens, seed)
    assert layer_sums(array, ALL, blocks, TOKENS) == EXPECTED


def test_ranks_that_share_the_layers_sum_their_own() -> None:
    array, blocks = pool_of(16, 3)
    assert layer_sums(array, Layers(0, 1), blocks, TOKENS) == EXPECTED[:1]
    rest = np.ascontiguousarray(array[:, 1:])
    assert layer_sums(rest, Layers(0, 2), blocks, TOKENS) == EXPECTED[1:]


@given(
    place=st.tuples(
        st.integers(0, TOKENS - 1),
        st.integers(0, LAYERS - 1),
        st.integers(0, 1),
        st.integers(0, HEADS - 1),
        st.integers(0, DIM - 1),
    ),
    value=st.floats(width=32),
)
def test_every_number_counts(place: tuple[int, ...], value: float) -> None:
    array, blocks = pool_of(16, 4)
    position, layer, kv, head, dim = place
    there = (blocks[position // 16], layer, kv, head, position % 16, dim)
    before = array[there].tobytes()
    array[there] = value
    changed = array[there].tobytes() != before
    differs = [
        mine != expected
        for mine, expected in zip(layer_sums(array, ALL, blocks, TOKENS), EXPECTED, strict=True)
    ]
    assert differs == [changed and index == layer for index in range(LAYERS)]


@pytest.mark.parametrize("wrong", ["swapped", "stale", "zeros"])
def test_blocks_that_are_not_those_offered_are_told(wrong: str) -> None:
    array, blocks = pool_of(16, 5)
    if wrong == "swapped":
        blocks[0], blocks[1] = blocks[1], blocks[0]
    elif wrong == "stale":
        blocks[1] = next(block for block in range(len(array)) if block not in blocks)
    else:
        array[blocks[2]] = 0
    sums = layer_sums(array, ALL, blocks, TOKENS)
    assert all(mine != expected for mine, expected in zip(sums, EXPECTED, strict=True))
