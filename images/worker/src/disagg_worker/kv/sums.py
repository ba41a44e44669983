"""Sums over KV cache: by them a reader knows whether it holds what the prefill worker computed.

There is one sum for each layer, of the bytes of all filled positions, each weighted by its position. It does
not depend on the size of blocks, on their places, or on how ranks share the layers; bytes that did not come,
came from elsewhere or into another place change it. It guards against faults, not against forgery.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np

from disagg_worker.layers import Layers

BLOCKS_AT_ONCE = 32
"""Blocks of a GPU that are gathered to be summed, some MiB."""


def layer_sums(array: Any, layers: Layers, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
    """Sum what some blocks hold, modulo 2 to the power of 64.

    Args:
        array: float32 `[blocks, layers, 2, kv_heads, block_tokens, head_dim]`, of NumPy or PyTorch; a head
            has an even length. What the blocks hold is there: nothing that writes to them is under way.
        layers: Which of the array's layers, counted from its first.
        blocks: Block numbers in the order of the positions they hold.
        tokens: Positions that are filled.

    Returns:
        One signed number of 64 bits for each layer.
    """
    library = _library(array)
    with _beside_others(array):
        words = array.view(library.int64)
        of_blocks = [
            words[some, layers.first : layers.end].sum(-1).sum((2, 3)) for some in _parts(library, blocks)
        ]
        of_positions = library.concatenate(of_blocks).swapaxes(0, 1).reshape(layers.count, -1)[:, :tokens]
        weights = library.asarray(2 * np.arange(tokens) + 1, device=array.device)
        # Weighted where they are: a GPU is waited for once, for one number a layer.
        sums: list[int] = (of_positions * weights).sum(-1).tolist()
    return tuple(sums)


def _parts(library: Any, blocks: Sequence[int]) -> Iterator[slice | list[int]]:
    """Cut blocks into what is summed at a time: few launches on a GPU, and no copies in host memory."""
    if library is np:
        return (slice(block, block + 1) for block in blocks)
    return (list(blocks[at : at + BLOCKS_AT_ONCE]) for at in range(0, len(blocks), BLOCKS_AT_ONCE))


def _library(array: Any) -> Any:
    """Return NumPy, or PyTorch where the array is its."""
    if isinstance(array, np.ndarray):
        return np
    import torch  # noqa: PLC0415 - an extra, there where arrays are its

    return torch


def _beside_others(array: Any) -> AbstractContextManager[object]:
    """Have what is computed on a GPU not wait for the engine's steps, which it has to do with nothing."""
    if isinstance(array, np.ndarray) or not array.is_cuda:
        return nullcontext()
    import torch  # noqa: PLC0415 - as above

    beside: AbstractContextManager[object] = torch.cuda.stream(_stream(array.device))
    return beside


@cache
def _stream(device: Any) -> Any:
    import torch  # noqa: PLC0415 - as above

    return torch.cuda.Stream(device, priority=-1)
