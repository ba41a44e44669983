"""The kernels on PyTorch: by the tests of the others, and what PyTorch alone could do wrong."""

import numpy as np
import pytest
import torch

from disagg_worker.errors import ConfigError
from disagg_worker.memory import region_of
from disagg_worker.model.torch_kernels import GROUP_ROWS, TorchKernels
from unit.worker_engine.test_worker_kernels import (  # noqa: F401 - run here with the fixture of this folder
    computed,
    normal,
    test_kv_comes_back_as_it_was_written,
    test_linear,
    test_rms_norm,
    test_rotate,
    test_rows_are_computed_as_if_alone,
    test_scores,
    test_softmax_of_large_and_masked_scores,
    test_swiglu_also_where_the_exponential_overflows,
)


@pytest.mark.parametrize("shape", [(3072, 576), (576, 1536), (49152, 576), (960, 576)])
def test_a_row_has_the_same_bits_wherever_it_is_in_whatever_batch(
    kernels: TorchKernels, shape: tuple[int, int]
) -> None:
    x, weight = normal(2 * GROUP_ROWS + 3, shape[1]), normal(*shape)
    together = computed(kernels, "linear_rows", x, weight)
    for rows in ([0], [7], [18], [11, 3], list(range(5, 15))):
        assert (computed(kernels, "linear_rows", x[rows], weight) == together[rows]).all()


def test_products_have_the_precision_of_float32(kernels: TorchKernels) -> None:
    """TF32 would miss this bound by a factor of a hundred."""
    x, weight = normal(64, 2048), normal(512, 2048)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    error = np.abs(computed(kernels, "linear", x, weight) - exact).max() / np.abs(exact).max()
    assert error < 3e-6


def test_a_pool_is_one_region_of_the_device(kernels: TorchKernels) -> None:
    pool = kernels.pool((4, 2, 2, 3, 16, 64))
    region = region_of(pool)
    assert (region.address, region.nbytes) == (pool.data_ptr(), 4 * 2 * 2 * 3 * 16 * 64 * 4)
    assert region.gpu == (pool.device.index if pool.is_cuda else None)
    assert pool.is_contiguous()


def test_a_gpu_that_is_not_there_is_refused() -> None:
    count = torch.cuda.device_count()
    expected = rf"cuda:0 to cuda:{count - 1}" if count else "finds no GPU"
    with pytest.raises(ConfigError, match=expected):
        TorchKernels("cuda:64")
