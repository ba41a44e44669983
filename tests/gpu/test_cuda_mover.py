"""Copies of rows on a GPU, against the same plan's copies in host memory."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from disagg_worker.kv.cache import CacheLayout
from disagg_worker.kv.cuda import KEPT_LAYOUTS, CudaMover
from disagg_worker.kv.mover import NumpyMover
from disagg_worker.kv.planner import plan
from disagg_worker.transfer.agent import Agent
from disagg_worker.transfer.staged import Slots, Store

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="copies in the memory of a GPU")
# Rows of 8, 4, 2 and 1 byte items, of several tiles, and of one head of one token.
LAYOUTS = (
    CacheLayout(3, 2, 64, 4, "bfloat16", 6),
    CacheLayout(2, 3, 6, 1, "bfloat16", 5, axes=("layer", "kv", "block", "token", "head", "dim")),
    CacheLayout(2, 1, 3, 1, "bfloat16", 5),
    CacheLayout(2, 1, 3, 1, "float8_e4m3", 5),
    CacheLayout(1, 8, 512, 16, "bfloat16", 5),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda each: f"{each.head_dim}x{each.block_tokens}")
def test_rows_come_and_go_as_in_host_memory(layout: CacheLayout) -> None:
    blocks = [4, 0, 3]
    path = plan(layout, layout, blocks, [1, 2, 0], tokens=len(blocks) * layout.block_tokens)
    content = np.random.default_rng(7).integers(0, 256, layout.nbytes, dtype=np.uint8)
    here, there = NumpyMover(), CudaMover(0)
    staged, arrived = here.allocate(path.nbytes), here.allocate(layout.nbytes)
    arrived[:] = 0
    here.gather(content, here.places(path, of_source=True), 0, path.rows, staged)
    here.scatter(arrived, here.places(path, of_source=False), 0, path.rows, staged)

    source = torch.from_numpy(content).cuda()
    staging, target = there.allocate(path.nbytes), there.allocate(layout.nbytes)
    gathered = there.gather(source, there.places(path, of_source=True), 0, path.rows, staging)
    torch.cuda.synchronize()
    assert gathered()
    assert np.array_equal(staging.cpu().numpy(), staged)
    cut = path.rows // 2
    size = path.lanes.row_bytes
    places = there.places(path, of_source=False)
    there.scatter(target, places, 0, cut, staging)
    there.scatter(target, places, cut, path.rows - cut, aligned(staging, cut * size))
    torch.cuda.synchronize()
    assert np.array_equal(target.cpu().numpy(), arrived)


def test_what_a_rank_of_the_same_layout_reads_is_compiled_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = LAYOUTS[0]
    mover = CudaMover(0)
    region = torch.randint(0, 256, (layout.nbytes,), dtype=torch.uint8, device="cuda")
    before = region.clone()
    store = Store(cast("Agent", None), region, layout, mover, Slots(mover.allocate(2 * layout.nbytes), 2))
    store.warm()
    assert torch.equal(region, before)
    monkeypatch.setattr(CudaMover, "_compile", lambda *_, **__: pytest.fail("compiled late"))
    path = plan(layout, layout, [3, 1], [0, 2], tokens=2 * layout.block_tokens)
    mover.gather(region, mover.places(path, of_source=True), 0, path.rows, store.slots.array(1))
    mover.scatter(region, mover.places(path, of_source=False), 0, path.rows, store.slots.array(1))
    torch.cuda.synchronize()


def test_lanes_of_many_layouts_are_not_all_kept() -> None:
    mover = CudaMover(0)
    layout = LAYOUTS[0]
    for blocks in range(1, 2 * KEPT_LAYOUTS):
        other = replace(layout, blocks=blocks)
        for of_source in (True, False):
            mover.places(plan(other, layout, [0], [0], tokens=layout.block_tokens), of_source=of_source)
    assert len(mover._lanes) == 2 * KEPT_LAYOUTS


def aligned(memory: torch.Tensor, first: int) -> torch.Tensor:
    """A copy of memory from a byte on, which begins where the kernel may copy from."""
    return memory[first:].clone()


def test_memory_that_the_kernel_was_not_compiled_for_is_refused() -> None:
    layout = LAYOUTS[0]
    mover = CudaMover(0)
    path = plan(layout, layout, [0], [0], tokens=layout.block_tokens)
    memory = mover.allocate(layout.nbytes + 8)
    with pytest.raises(ValueError, match="no multiple of 16 bytes"):
        mover.gather(
            memory[8:], mover.places(path, of_source=True), 0, path.rows, mover.allocate(path.nbytes)
        )
