"""The shape of KV blocks in memory, and the number by which two workers know that theirs agree."""

import math
from dataclasses import dataclass

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class KVLayout:
    """What must be equal on both sides before one worker may read the other's blocks.

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

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold `tokens` positions."""
        return -(-tokens // self.block_tokens)
