"""Choosing the next token from logits.

The draw for the n-th generated token depends on the request's seed and on n alone: not on the neighbours in
the batch, not on which worker draws it, and not on whether the sequence was computed again after losing its
blocks.
"""

import numpy as np
from numpy.typing import NDArray

from disagg_worker.engine.types import SamplingParams

# A nucleus is looked for among so many of the likeliest tokens first; sorting the whole vocabulary is slow.
NUCLEUS_GUESS = 1024


def choose_token(
    logits: NDArray[np.float32],
    params: SamplingParams,
    draw: tuple[int, int],
    banned: frozenset[int] = frozenset(),
) -> int:
    """Choose one token.

    Args:
        logits: `[vocab]`; not changed.
        params: Temperature, top-k and top-p, applied in this order.
        draw: The request's seed and the number of tokens generated so far.
        banned: Tokens that must not be chosen.
    """
    if banned:
        logits = logits.copy()
        logits[list(banned)] = -np.inf
    if params.temperature == 0:
        return int(np.argmax(logits))
    scaled = (logits.astype(np.float64) - logits.max()) / params.temperature
    tokens, weights = _candidates(np.exp(scaled), params)
    reached = np.cumsum(weights)
    return int(tokens[np.searchsorted(reached, _uniform(*draw) * reached[-1], side="right")])


def _candidates(
    weights: NDArray[np.float64], params: SamplingParams
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Tokens that may be chosen and their unnormalised probabilities."""
    vocab = len(weights)
    k = min(params.top_k or vocab, vocab)
    if k == vocab and params.top_p == 1:
        return np.arange(vocab), weights
    if params.top_k:
        tokens, kept = _likeliest(weights, k)
        return _nucleus(tokens, kept, params.top_p * kept.sum())
    mass = params.top_p * weights.sum()
    tokens, kept = _likeliest(weights, min(NUCLEUS_GUESS, vocab))
    if kept.sum() < mass:
        tokens, kept = _likeliest(weights, vocab)
    return _nucleus(tokens, kept, mass)


def _likeliest(weights: NDArray[np.float64], k: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the k largest weights, largest first, and their tokens; equal ones by token id."""
    tokens = np.sort(np.argpartition(weights, -k)[-k:])
    tokens = tokens[np.argsort(-weights[tokens], kind="stable")]
    return tokens, weights[tokens]


def _nucleus(
    tokens: NDArray[np.intp], weights: NDArray[np.float64], mass: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Keep the first tokens until their weights reach `mass`; always at least one."""
    count = int(np.searchsorted(np.cumsum(weights), mass)) + 1
    return tokens[:count], weights[:count]


def _uniform(seed: int, index: int) -> float:
    """Return the number in [0, 1) that belongs to a seed and an index."""
    key = np.array([seed % 2**64, index], dtype=np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key)).random())
