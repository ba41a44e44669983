"""Each kernel against loops in float64, in its portable and its CPU form (and on a GPU, by tests/gpu)."""

import math
from typing import Any

import numpy as np
import pytest

from disagg_worker.model import kernels as module
from disagg_worker.model.kernels import CpuKernels, Kernels
from unit.worker_engine.tiny import naive_rms, naive_rope

RNG = np.random.default_rng(1)


def normal(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return RNG.standard_normal(shape, dtype=np.float32)


@pytest.fixture(params=[Kernels(np), CpuKernels()], ids=["portable", "cpu"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    chosen: Kernels = request.param
    return chosen


def computed(kernels: Kernels, method: str, *arguments: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """What a kernel makes of NumPy arrays, as a NumPy array."""
    there = [kernels.array(each) if isinstance(each, np.ndarray) else each for each in arguments]
    return kernels.host(getattr(kernels, method)(*there)).copy()


@pytest.mark.parametrize("method", ["linear", "linear_rows"])
def test_linear(kernels: Kernels, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE_BYTES", 400)  # several tiles, the last one partial
    x, weight = normal(3, 20), normal(17, 20)
    expected = [
        [math.fsum(float(a) * float(b) for a, b in zip(r, w, strict=True)) for w in weight] for r in x
    ]
    np.testing.assert_allclose(computed(kernels, method, x, weight), expected, atol=1e-5)


def test_rows_are_computed_as_if_alone(kernels: Kernels) -> None:
    x, weight = normal(8, 576), normal(3072, 576)
    together = computed(kernels, "linear_rows", x, weight)
    for i in range(8):
        assert (computed(kernels, "linear_rows", x[i : i + 1], weight)[0] == together[i]).all()


def test_rms_norm(kernels: Kernels) -> None:
    x, weight = normal(5, 24), normal(24)
    expected = [naive_rms(row.astype(np.float64), weight, 1e-5) for row in x]
    np.testing.assert_allclose(computed(kernels, "rms_norm", x, weight, 1e-5), expected, atol=1e-5)


def test_rotate(kernels: Kernels) -> None:
    x, positions = normal(4, 3, 8), [0, 1, 7, 300]
    angles = np.outer(positions, 10000.0 ** (-np.arange(0, 8, 2) / 8))[:, None, :]
    turned = computed(kernels, "rotate", x, np.cos(angles), np.sin(angles))
    for i, position in enumerate(positions):
        for head in range(3):
            np.testing.assert_allclose(turned[i, head], naive_rope(x[i, head], position, 10000.0), atol=1e-5)


def test_swiglu_also_where_the_exponential_overflows(kernels: Kernels) -> None:
    gate_up = normal(2, 10)
    gate_up[0, 0], gate_up[1, 1] = -200.0, 200.0
    gate, up = gate_up[:, :5].astype(np.float64), gate_up[:, 5:]
    expected = gate / (1 + np.exp(-gate)) * up
    np.testing.assert_allclose(computed(kernels, "swiglu", gate_up), expected, rtol=1e-5, atol=1e-6)


def test_softmax_of_large_and_masked_scores(kernels: Kernels) -> None:
    result = computed(kernels, "softmax", np.array([[1000.0, 999.0, -math.inf]], dtype=np.float32))
    np.testing.assert_allclose(
        result, [[1 / (1 + math.exp(-1)), math.exp(-1) / (1 + math.exp(-1)), 0]], rtol=1e-6
    )


def test_kv_comes_back_as_it_was_written(kernels: Kernels) -> None:
    pool = kernels.pool((6, 2, 2, 3, 4, 8))
    written, blocks = normal(10, 2, 3, 8), (4, 0, 5)
    slots = [(blocks[p // 4], p % 4) for p in range(10)]
    kernels.write_kv(pool, 1, kernels.slots(slots), kernels.array(written))
    keys, values = map(kernels.host, kernels.read_kv(pool, 1, kernels.pages(pool, blocks), 10))
    assert (keys == written[:, 0].swapaxes(0, 1)).all()
    assert (values == written[:, 1].swapaxes(0, 1)).all()
    assert not kernels.host(pool)[:, 0].any()


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_scores(kernels: Kernels, rows: int, tokens: int) -> None:
    query, keys = normal(2, rows, 16), normal(2, tokens + 5, 16)[:, :tokens]
    expected = [
        [
            [math.fsum(float(a) * float(b) for a, b in zip(q, k, strict=True)) for k in head_keys]
            for q in head_query
        ]
        for head_query, head_keys in zip(query, keys, strict=True)
    ]
    np.testing.assert_allclose(computed(kernels, "scores", query, keys), expected, atol=1e-5)
