"""The forward pass of a Llama, or of some of its layers, over a paged KV cache.

Where other ranks hold the layers before, their hidden states go in; where others hold those after, hidden
states come out.

Prefill computes one sequence's chunk as matrix products; decode computes one position of each of several
sequences, row by row, so that its numbers do not depend on the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from disagg_worker.model.kernels import Kernels
from disagg_worker.model.spec import Array, LlamaSpec
from disagg_worker.model.weights import LayerWeights, LlamaWeights

Linear = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Segment:
    """Consecutive positions of one sequence to compute.

    Attributes:
        tokens: Token ids at these positions.
        start: The first position; K and V of all before it are in the cache.
        blocks: The sequence's blocks, enough for the last position.
    """

    tokens: Sequence[int]
    start: int
    blocks: tuple[int, ...]

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + len(self.tokens)


class Llama:
    """A model, or those of its layers that a rank holds, bound to the KV pool it reads and writes.

    Args:
        spec: Dimensions of the whole model.
        weights: Arrays on the kernels' device.
        pool: `[num_blocks, layers, 2, kv_heads, block_tokens, head_dim]`
        kernels: How to compute.
        max_positions: Longest sequence.
    """

    def __init__(
        self, spec: LlamaSpec, weights: LlamaWeights, pool: Array, kernels: Kernels, max_positions: int
    ) -> None:
        self.spec = spec
        self.weights = weights
        self._pool = pool
        self._kernels = kernels
        self._block_tokens = int(pool.shape[4])
        angles = rope_angles(spec, max_positions)
        self._cos = kernels.array(np.cos(angles).astype(np.float32))
        self._sin = kernels.array(np.sin(angles).astype(np.float32))

    def prefill(self, segment: Segment, hidden: Array | None = None) -> Array:
        """Compute a chunk of a prompt.

        Args:
            segment: The chunk.
            hidden: `[len(tokens), hidden]` from the layers before; None at the first layer.

        Returns:
            The last hidden states, of the same shape.
        """
        return self._forward([segment], self._kernels.linear, hidden)

    def decode(self, segments: Sequence[Segment], hidden: Array | None = None) -> Array:
        """Compute one position of each of several sequences; `hidden` and the result as of `prefill`."""
        return self._forward(segments, self._kernels.linear_rows, hidden)

    def logits(self, hidden: Array) -> Array:
        """Turn the last layer's hidden states `[n, hidden]` into logits `[n, vocab]`, row by row."""
        normed = self._kernels.rms_norm(hidden, self.weights.final_norm, self.spec.rms_eps)
        return self._kernels.linear_rows(normed, self.weights.unembedding)

    def _embed(self, segments: Sequence[Segment]) -> Array:
        tokens = self._kernels.array([token for segment in segments for token in segment.tokens])
        return self._kernels.xp.take(self.weights.embedding, tokens, axis=0)

    def _forward(self, segments: Sequence[Segment], linear: Linear, hidden: Array | None) -> Array:
        xp, kernels, eps = self._kernels.xp, self._kernels, self.spec.rms_eps
        positions = [p for segment in segments for p in range(segment.start, segment.end)]
        slots = kernels.slots([slot for segment in segments for slot in self._slots(segment)])
        pages = [self._pages(segment) for segment in segments]
        index = kernels.array(positions)
        cos, sin = (xp.take(table, index, axis=0)[:, None, :] for table in (self._cos, self._sin))
        x = self._embed(segments) if hidden is None else hidden
        for number, layer in enumerate(self.weights.layers):
            projected = linear(kernels.rms_norm(x, layer.attention_norm, eps), layer.qkv)
            query, keys_values = self._split_qkv(projected, cos, sin)
            kernels.write_kv(self._pool, number, slots, keys_values)
            x = x + linear(self._attend(number, segments, pages, query), layer.output)
            x = x + self._mlp(x, layer, linear)
        return x

    def _split_qkv(self, projected: Array, cos: Array, sin: Array) -> tuple[Array, Array]:
        """Part `[n, qkv]` into rotated Q `[n, heads, head_dim]` and K, V `[n, 2, kv_heads, head_dim]`."""
        xp, spec = self._kernels.xp, self.spec
        n, rotary = projected.shape[0], spec.heads + spec.kv_heads
        heads = xp.reshape(projected, (n, rotary + spec.kv_heads, spec.head_dim))
        rotated = self._kernels.rotate(heads[:, :rotary, :], cos, sin)
        keys_values = xp.stack([rotated[:, spec.heads :, :], heads[:, rotary:, :]], axis=1)
        return rotated[:, : spec.heads, :], keys_values

    def _slots(self, segment: Segment) -> list[tuple[int, int]]:
        """Block and offset in the block of each position of a segment."""
        places = (divmod(position, self._block_tokens) for position in range(segment.start, segment.end))
        return [(segment.blocks[index], offset) for index, offset in places]

    def _pages(self, segment: Segment) -> Any:
        """The prepared blocks that hold K and V up to the end of a segment."""
        used = -(-segment.end // self._block_tokens)
        return self._kernels.pages(self._pool, segment.blocks[:used])

    def _attend(self, layer: int, segments: Sequence[Segment], pages: list[Any], query: Array) -> Array:
        mixed, row = [], 0
        for segment, own in zip(segments, pages, strict=True):
            rows = query[row : row + len(segment.tokens), :, :]
            keys, values = self._kernels.read_kv(self._pool, layer, own, segment.end)
            mixed.append(self._kernels.attend(rows, keys, values, segment.start))
            row += len(segment.tokens)
        return mixed[0] if len(mixed) == 1 else self._kernels.xp.concat(mixed, axis=0)

    def _mlp(self, x: Array, layer: LayerWeights, linear: Linear) -> Array:
        gate_up = linear(self._kernels.rms_norm(x, layer.mlp_norm, self.spec.rms_eps), layer.gate_up)
        return linear(self._kernels.swiglu(gate_up), layer.down)


def rope_angles(spec: LlamaSpec, positions: int) -> Array:
    """Rotary angles in radians, float64 `[positions, head_dim / 2]`."""
    frequencies = spec.rope_theta ** (-np.arange(0, spec.head_dim, 2) / spec.head_dim)
    return np.outer(np.arange(positions), frequencies)
