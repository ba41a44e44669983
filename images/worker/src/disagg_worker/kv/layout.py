"""The shape of KV blocks in memory, and the number by which two workers know that theirs agree."""

import math
from dataclasses import dataclass

from disagg_worker.kv.cache import CacheLayout
from disagg_worker.layers import Layers

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class KVLayout:
    """What must be equal on both sides before one worker may read the other's blocks, but `block_tokens`.

    A block holds `block_tokens` positions of every layer and is one contiguous segment of shape
    `[layers, 2, kv_heads, block_tokens, head_dim]` (index 0 of the second axis is K, index 1 is V). Where
    several ranks share the layers, each holds its own of every block.

    Attributes:
        layers: Transformer layers.
        kv_heads: Key/value heads per layer.
        head_dim: Floats per head and position.
        block_tokens: Positions per block.
        dtype: Element type; "float32" always.
        model_fingerprint: Hash of the weights; K and V of other weights mean nothing here.
    """

    layers: int
    kv_heads: int
    head_dim: int
    block_tokens: int
    dtype: str
    model_fingerprint: str

    @property
    def layer_shape(self) -> tuple[int, int, int, int]:
        """Shape of one layer of one block."""
        return (2, self.kv_heads, self.block_tokens, self.head_dim)

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer of one block."""
        return math.prod(self.layer_shape) * FLOAT32_BYTES

    @property
    def block_bytes(self) -> int:
        """Bytes of one block over all layers."""
        return self.layers * self.layer_bytes

    def cache(self, block_tokens: int, blocks: int, layers: Layers) -> CacheLayout:
        """Describe a rank's pool of blocks, which may have another size than these, to transfers.

        Args:
            block_tokens: Positions per block.
            blocks: Blocks of the pool.
            layers: The layers that the rank holds.
        """
        return CacheLayout(
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            block_tokens=block_tokens,
            dtype=self.dtype,
            blocks=blocks,
            axes=("block", "layer", "kv", "head", "token", "dim"),
            held=layers,
        )

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold `tokens` positions."""
        return -(-tokens // self.block_tokens)
