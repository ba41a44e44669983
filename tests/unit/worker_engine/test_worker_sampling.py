"""Choosing tokens: greedy, temperature, top-k, top-p, and what a seed promises."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from disagg_worker.engine import RequestRefused, SamplingParams
from disagg_worker.engine.sampling import choose_token

LOGITS = np.array([0.0, 3.0, 1.0, 2.0, -1.0], dtype=np.float32)


def chosen(params: SamplingParams, draws: int = 2000, logits: NDArray[np.float32] = LOGITS) -> Counter[int]:
    return Counter(choose_token(logits, params, (7, i)) for i in range(draws))


def test_greedy_takes_the_likeliest_that_is_not_banned() -> None:
    greedy = SamplingParams(max_tokens=1)
    assert choose_token(LOGITS, greedy, (0, 0)) == 1
    assert choose_token(LOGITS, greedy, (0, 0), frozenset({1, 3})) == 2
    assert LOGITS[1] == 3.0


def test_frequencies_follow_the_softmax() -> None:
    counts = chosen(SamplingParams(max_tokens=1, temperature=2.0), draws=20_000)
    weights = np.exp(LOGITS.astype(np.float64) / 2.0)
    for token, probability in enumerate(weights / weights.sum()):
        assert counts[token] / 20_000 == pytest.approx(probability, abs=0.015)


def test_top_k_keeps_the_k_likeliest() -> None:
    assert set(chosen(SamplingParams(max_tokens=1, temperature=5.0, top_k=2))) == {1, 3}


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass() -> None:
    # The softmax of LOGITS is 0.032, 0.636, 0.086, 0.234, 0.012.
    assert set(chosen(SamplingParams(max_tokens=1, temperature=1.0, top_p=0.6))) == {1}
    assert set(chosen(SamplingParams(max_tokens=1, temperature=1.0, top_p=0.65))) == {1, 3}
    assert set(chosen(SamplingParams(max_tokens=1, temperature=1.0, top_p=0.9))) == {1, 2, 3}


def test_top_p_beyond_the_tokens_that_are_looked_at_first() -> None:
    flat = np.zeros(5000, dtype=np.float32)
    kept = chosen(SamplingParams(max_tokens=1, temperature=1.0, top_p=0.5), logits=flat)
    assert max(kept) < 2501
    assert max(kept) > 2400


def test_banned_tokens_are_never_drawn() -> None:
    params = SamplingParams(max_tokens=1, temperature=3.0)
    assert 1 not in {choose_token(LOGITS, params, (1, i), frozenset({1})) for i in range(200)}


@settings(max_examples=60)
@given(st.integers(-(2**70), 2**70), st.integers(0, 2**20), st.floats(1e-6, 10), st.floats(0.01, 1))
def test_a_draw_depends_on_seed_and_index_alone(
    seed: int, index: int, temperature: float, top_p: float
) -> None:
    params = SamplingParams(max_tokens=1, temperature=temperature, top_p=top_p)
    first = choose_token(LOGITS, params, (seed, index))
    choose_token(LOGITS, params, (seed + 1, index))
    assert choose_token(LOGITS, params, (seed, index)) == first


def test_other_seeds_and_indices_draw_other_tokens() -> None:
    params = SamplingParams(max_tokens=1, temperature=10.0)
    by_seed = [choose_token(LOGITS, params, (seed, 0)) for seed in range(50)]
    by_index = [choose_token(LOGITS, params, (0, index)) for index in range(50)]
    assert len(set(by_seed)) > 1
    assert len(set(by_index)) > 1
    assert by_seed != by_index


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("min_tokens", -1),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    values = {"max_tokens": 1, field: value}
    with pytest.raises(RequestRefused, match=f"^{field}: must be .*; got {value}$"):
        SamplingParams(**values)  # type: ignore[arg-type]
