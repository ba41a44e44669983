"""The forward pass: equal to naive loops, for any block size, chunking, placement and batch."""

from collections.abc import Sequence
from random import Random

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from disagg_worker.kv import BlockPool, KVLayout
from disagg_worker.model.kernels import QUERY_TILE, CpuKernels, Kernels
from disagg_worker.model.llama import Llama
from disagg_worker.model.segment import Segment
from disagg_worker.model.weights import LayerWeights, LlamaWeights
from unit.worker_engine.tiny import SPEC, naive_logits, prompt, tiny_weights

WEIGHTS = tiny_weights()
TOKENS = prompt(21)
EXPECTED = naive_logits(SPEC, WEIGHTS, TOKENS)


def model(block_tokens: int, num_blocks: int = 64, longest: int = 256) -> Llama:
    layout = KVLayout(SPEC.layers, SPEC.kv_heads, SPEC.head_dim, block_tokens, "float32", "")
    return Llama(SPEC, WEIGHTS, BlockPool(layout, num_blocks).array, CpuKernels(), longest)


def prefill(llama: Llama, tokens: Sequence[int], blocks: tuple[int, ...], chunk: int) -> NDArray[np.float32]:
    parts = [
        llama.prefill(Segment(tokens[start : start + chunk], start, blocks))
        for start in range(0, len(tokens), chunk)
    ]
    return np.asarray(llama.logits(np.concatenate(parts)))


@settings(max_examples=30)
@given(st.integers(1, 24), st.integers(1, 24), st.randoms(use_true_random=False))
def test_paged_prefill_equals_naive_loops(block_tokens: int, chunk: int, random: Random) -> None:
    blocks = list(range(64))
    random.shuffle(blocks)
    logits = prefill(model(block_tokens), TOKENS, tuple(blocks), chunk)
    np.testing.assert_allclose(logits, EXPECTED, rtol=0, atol=2e-4)


@pytest.mark.parametrize("block_tokens", [1, 3, 16])
def test_decode_after_prefill_equals_naive_loops(block_tokens: int) -> None:
    llama, blocks = model(block_tokens), tuple(reversed(range(64)))
    prefill(llama, TOKENS[:9], blocks, chunk=4)
    for position in range(9, len(TOKENS)):
        hidden = llama.decode([Segment(TOKENS[position : position + 1], position, blocks)])
        np.testing.assert_allclose(llama.logits(hidden)[0], EXPECTED[position], rtol=0, atol=2e-4)


def test_queries_beyond_one_attention_tile() -> None:
    tokens = prompt(QUERY_TILE + 30)
    whole = prefill(model(16), tokens, tuple(range(16)), chunk=len(tokens))
    in_small_chunks = prefill(model(16), tokens, tuple(range(16)), chunk=7)
    np.testing.assert_allclose(whole, in_small_chunks, rtol=0, atol=2e-4)


def test_decode_does_not_depend_on_the_batch_bit_for_bit() -> None:
    lengths = (3, 21, 8, 1, 13)
    blocks = [tuple(range(10 * i, 10 * i + 10)) for i in range(len(lengths))]
    llama = model(4)
    for i, length in enumerate(lengths):
        prefill(llama, prompt(length, i), blocks[i], chunk=8)
    segments = [Segment([5 + i], length, blocks[i]) for i, length in enumerate(lengths)]
    together = llama.logits(llama.decode(segments))
    for i, segment in enumerate(segments):
        alone = llama.logits(llama.decode([segment]))
        assert (alone[0] == together[i]).all()


def test_other_sequences_in_the_pool_are_not_touched() -> None:
    layout = KVLayout(SPEC.layers, SPEC.kv_heads, SPEC.head_dim, 4, "float32", "")
    pool = BlockPool(layout, 8)
    pool.array[...] = 7
    llama = Llama(SPEC, WEIGHTS, pool.array, CpuKernels(), 256)
    llama.prefill(Segment(TOKENS[:6], 0, (5, 2)))
    assert (pool.array[[0, 1, 3, 4, 6, 7]] == 7).all()
    assert (pool.array[2, :, :, :, 2:] == 7).all()
    assert (pool.array[2, :, :, :, :2] != 7).any()


def test_the_model_needs_nothing_beyond_the_array_api_standard() -> None:
    """array-api-strict refuses everything that the standard does not define."""
    xp = array_api_strict
    layers = tuple(
        LayerWeights(**{name: xp.asarray(array) for name, array in vars(layer).items()})
        for layer in WEIGHTS.layers
    )
    embedding, unembedding = xp.asarray(WEIGHTS.embedding), xp.asarray(WEIGHTS.unembedding)
    weights = LlamaWeights(embedding, layers, xp.asarray(WEIGHTS.final_norm), unembedding)
    shape = (8, SPEC.layers, 2, SPEC.kv_heads, 4, SPEC.head_dim)
    llama = Llama(SPEC, weights, xp.zeros(shape, dtype=xp.float32), Kernels(xp), 64)
    blocks = (3, 1, 6, 0, 2, 7)
    prompt_logits = llama.logits(llama.prefill(Segment(TOKENS[:20], 0, blocks)))
    last_logits = llama.logits(llama.decode([Segment(TOKENS[20:], 20, blocks)]))
    logits = xp.concat([prompt_logits, last_logits], axis=0)
    np.testing.assert_allclose(np.from_dlpack(logits), EXPECTED, rtol=0, atol=2e-4)
