"""The engine on arrays of another library than NumPy, and errors where a device is missing."""

import asyncio
import sys

import array_api_strict
import numpy as np
import pytest

from disagg_worker.engine import Engine, SamplingParams, stage
from disagg_worker.errors import ConfigError
from disagg_worker.memory import Region, page_aligned, region_of
from disagg_worker.model.devices import open_kernels
from disagg_worker.model.kernels import CpuKernels, Kernels
from disagg_worker.model.weights import placed
from unit.worker_engine.tiny import SPEC, prompt, tiny_config, tiny_weights

SEEDED = SamplingParams(max_tokens=12, ignore_eos=True, temperature=1.5, top_p=0.95, seed=11)


async def batch_of(engine: Engine, sampling: SamplingParams) -> list[list[int | None]]:
    async def one(number: int) -> list[int | None]:
        stream = engine.generate(f"r{number}", prompt(1 + 6 * number, number), sampling)
        return [output.token async for output in stream]

    await engine.start()
    tokens = await asyncio.gather(*(one(number) for number in range(5)))
    await engine.stop()
    assert engine.failure is None
    return list(tokens)


async def test_the_engine_needs_nothing_of_its_arrays_beyond_the_standard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = await batch_of(Engine(tiny_config(), SPEC, tiny_weights()), SEEDED)
    monkeypatch.setattr(stage, "open_kernels", lambda _: Kernels(array_api_strict))
    engine = Engine(tiny_config(), SPEC, tiny_weights())
    assert isinstance(engine.pool.array, type(array_api_strict.zeros(1)))
    assert await batch_of(engine, SEEDED) == expected


def test_weights_that_are_tied_stay_one_array() -> None:
    weights = tiny_weights()
    assert placed(weights, np.copy).unembedding is not weights.unembedding
    tied = placed(type(weights)(weights.embedding, (), None, weights.embedding), np.copy)
    assert tied.unembedding is tied.embedding
    assert tied.embedding is not weights.embedding
    assert tied.final_norm is None


def test_without_pytorch_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "disagg_worker.model.torch_kernels", raising=False)
    with pytest.raises(ConfigError, match=r"compute\.device: cuda:1 needs PyTorch.*or write cpu"):
        open_kernels("cuda:1")
    assert isinstance(open_kernels("cpu"), CpuKernels)


def test_a_numpy_array_is_a_region_of_host_memory() -> None:
    array = page_aligned((3, 5))
    assert region_of(array) == Region(array.ctypes.data, 60, None)
    assert array.ctypes.data % 4096 == 0
