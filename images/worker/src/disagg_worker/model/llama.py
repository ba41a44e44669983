"""The forward pass of a Llama, or of some of its layers, over a paged KV cache.

Where other ranks hold the layers before, their hidden states go in; where others hold those after, hidden
states come out.

Prefill computes one sequence's chunk as matrix products; decode computes one position of each of several
sequences, row by row, so that its numbers do not depend on the batch.
"""

from collections.abc import Callable, Sequence

import numpy as np

from disagg_worker.model.kernels import Kernels, Work
from disagg_worker.model.segment import Segment
from disagg_worker.model.spec import Array, LlamaSpec
from disagg_worker.model.weights import LayerWeights, LlamaWeights

Linear = Callable[[Array, Array], Array]


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
        return self._forward(self._work([segment], hidden), self._kernels.linear)

    def decode(self, segments: Sequence[Segment], hidden: Array | None = None) -> Array:
        """Compute one position of each of several sequences; `hidden` and the result as of `prefill`.

        The result is valid until the next call.
        """
        kernels, count = self._kernels, len(segments)
        order = kernels.filled(count)
        if hidden is not None and len(order) > count:
            hidden = kernels.xp.take(hidden, kernels.array(order), axis=0)
        work = self._work([segments[number] for number in order], hidden)
        return kernels.repeat(self._decode, work)[:count, :]

    def _decode(self, work: Work) -> Array:
        return self._forward(work, self._kernels.linear_rows)

    def logits(self, hidden: Array) -> Array:
        """Turn the last layer's hidden states `[n, hidden]` into logits `[n, vocab]`, row by row."""
        normed = self._kernels.rms_norm(hidden, self.weights.final_norm, self.spec.rms_eps)
        return self._kernels.linear_rows(normed, self.weights.unembedding)

    def _work(self, segments: Sequence[Segment], hidden: Array | None) -> Work:
        """Bring to the device what is to be computed."""
        kernels = self._kernels
        return Work(
            tokens=kernels.array([token for segment in segments for token in segment.tokens]),
            positions=kernels.array([p for each in segments for p in range(each.start, each.end)]),
            slots=kernels.slots([slot for segment in segments for slot in self._slots(segment)]),
            reach=kernels.reach(self._pool, segments),
            hidden=hidden,
        )

    def _forward(self, work: Work, linear: Linear) -> Array:
        xp, kernels, eps = self._kernels.xp, self._kernels, self.spec.rms_eps
        cos, sin = (xp.take(table, work.positions, axis=0)[:, None, :] for table in (self._cos, self._sin))
        x = xp.take(self.weights.embedding, work.tokens, axis=0) if work.hidden is None else work.hidden
        for number, layer in enumerate(self.weights.layers):
            projected = linear(kernels.rms_norm(x, layer.attention_norm, eps), layer.qkv)
            query, keys_values = self._split_qkv(projected, cos, sin)
            kernels.write_kv(self._pool, number, work.slots, keys_values)
            x = x + linear(kernels.attend_paged(self._pool, number, work.reach, query), layer.output)
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

    def _mlp(self, x: Array, layer: LayerWeights, linear: Linear) -> Array:
        gate_up = linear(self._kernels.rms_norm(x, layer.mlp_norm, self.spec.rms_eps), layer.gate_up)
        return linear(self._kernels.swiglu(gate_up), layer.down)


def rope_angles(spec: LlamaSpec, positions: int) -> Array:
    """Rotary angles in radians, float64 `[positions, head_dim / 2]`."""
    frequencies = spec.rope_theta ** (-np.arange(0, spec.head_dim, 2) / spec.head_dim)
    return np.outer(np.arange(positions), frequencies)
