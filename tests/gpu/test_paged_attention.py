"""The paged attention kernel beside the portable one; without a GPU it runs in Triton's interpreter."""

import numpy as np
import pytest

from disagg_worker.model.segment import Segment
from disagg_worker.model.torch_kernels import Reach, TorchKernels
from unit.worker_engine.test_worker_kernels import normal


@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("block_tokens", [1, 3, 16, 64])
def test_it_gives_what_the_portable_kernel_gives(
    kernels: TorchKernels, heads: int, block_tokens: int
) -> None:
    kernels.paged = False
    lengths = (1, 31, 32, 33, 100)
    blocks = np.random.default_rng(1).permutation(5 * 100).reshape(5, 100)
    pool = kernels.pool((500, 2, 2, 2, block_tokens, 32))
    pool[...] = kernels.array(normal(*pool.shape))
    segments = [
        Segment([0], length - 1, tuple(int(block) for block in own))
        for length, own in zip(lengths, blocks, strict=True)
    ]
    query = kernels.array(normal(5, heads + 2, 32))[:, :heads, :]
    expected = kernels.host(kernels.attend_paged(pool, 1, kernels.reach(pool, segments), query))
    kernels.paged = True
    reach = kernels.reach(pool, segments)
    assert isinstance(reach, Reach)
    found = kernels.host(kernels.attend_paged(pool, 1, reach, query))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for row in (0, 3):
        alone = kernels.reach(pool, segments[row : row + 1])
        own = kernels.host(kernels.attend_paged(pool, 1, alone, query[row : row + 1]))
        assert (own[0] == found[row]).all()
