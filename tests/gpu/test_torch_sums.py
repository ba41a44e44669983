"""Sums of KV cache in a GPU's memory are those of the same bytes in host memory, and wait for nothing."""

import threading
import time

import numpy as np
import pytest
import torch

from disagg_worker.kv.sums import layer_sums
from disagg_worker.layers import Layers
from disagg_worker.model.torch_kernels import TorchKernels


@pytest.mark.parametrize("tokens", [1, 16, 75, 80])
def test_sums_are_those_of_host_memory(kernels: TorchKernels, tokens: int) -> None:
    host = np.random.default_rng(2).standard_normal((9, 4, 2, 3, 16, 64)).astype(np.float32)
    device = kernels.array(host)
    blocks = [7, 0, 3, 8, 5][: -(-tokens // 16)]
    layers = Layers(1, 3)
    assert layer_sums(device, layers, blocks, tokens) == layer_sums(host, layers, blocks, tokens)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="waits for work of a GPU")
@pytest.mark.parametrize("asked", [False, True], ids=["computing", "waited-for"])
def test_sums_do_not_wait_for_what_else_the_gpu_does(kernels: TorchKernels, *, asked: bool) -> None:
    """Neither for the engine's step, nor for the thread that waits for the step's numbers."""
    pool, numbers = kernels.pool((9, 4, 2, 3, 16, 64)), kernels.array(np.ones(4))
    layer_sums(pool, Layers(0, 4), [1, 2], 32)
    step = torch.cuda.Event()
    torch.cuda._sleep(2_000_000_000)  # about a second
    step.record()
    engine = threading.Thread(target=kernels.host, args=[numbers])
    if asked:
        engine.start()
        time.sleep(0.1)
    layer_sums(pool, Layers(0, 4), [1, 2], 32)
    assert not step.query()
    step.synchronize()
    if asked:
        engine.join()
