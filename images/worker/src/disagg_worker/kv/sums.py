"""Sums over KV cache: by them a reader knows whether it holds what the prefill worker computed.

There is one sum for each layer, of the bytes of all filled positions, each weighted by its position. It does
not depend on the size of blocks, on their places, or on how ranks share the layers; bytes that did not come,
came from elsewhere or into another place change it. It guards against faults, not against forgery.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from disagg_worker.layers import Layers


def layer_sums(array: Any, layers: Layers, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
    """Sum what some blocks hold, modulo 2 to the power of 64.

    Args:
        array: float32 `[blocks, layers, 2, kv_heads, block_tokens, head_dim]`, of NumPy or PyTorch; a head
            has an even length.
        layers: Which of the array's layers, counted from its first.
        blocks: Block numbers in the order of the positions they hold.
        tokens: Positions that are filled.

    Returns:
        One signed number of 64 bits for each layer.
    """
    library = _library(array)
    words = array.view(library.int64)
    block_tokens = int(array.shape[4])
    of_blocks = []
    for index, block in enumerate(blocks):
        filled = min(block_tokens, tokens - index * block_tokens)
        held = words[block, layers.first : layers.end, :, :, :filled]
        of_blocks.append(held.sum(-1).sum((1, 2)))
    # Of a GPU all are fetched at once, [layers, positions]: each fetch waits for it.
    of_positions = np.asarray(library.concatenate(of_blocks, axis=1).tolist(), dtype=np.int64)
    sums: list[int] = (of_positions @ (2 * np.arange(tokens) + 1)).tolist()
    return tuple(sums)


def _library(array: Any) -> Any:
    """Return NumPy, or PyTorch where the array is its."""
    if isinstance(array, np.ndarray):
        return np
    import torch  # noqa: PLC0415 - an extra, there where arrays are its

    return torch
