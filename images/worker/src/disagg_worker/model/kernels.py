"""The building blocks of the forward pass.

`Kernels` is written against the array API standard alone and runs on any array library that follows it.
`CpuKernels` replaces what is slow on a CPU, `torch_kernels.TorchKernels` what is slow on a GPU; nothing else
in the model knows that they do.

Numerics: `linear_rows` computes every row by itself, so that a sequence's result does not depend on which
others are in the batch, bit for bit. On a CPU this costs nothing: a matrix that is in cache after the first
row is read from there for the others, and a small batch is faster than one matrix product.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disagg_worker.memory import page_aligned
from disagg_worker.model.segment import Segment
from disagg_worker.model.spec import Array

TILE_BYTES = 8 << 20
QUERY_TILE = 128
KEY_TILE = 64
FEW_ROWS = 8
# e to this power is still a float32; a gate of less is zero in the result all the same.
MAX_EXPONENT = 80.0


@dataclass(frozen=True)
class Work:
    """What one pass through the layers computes, in arrays on the device.

    Attributes:
        tokens: int64 `[n]`
        positions: int64 `[n]`, each in its sequence.
        slots: From `Kernels.slots`.
        reach: From `Kernels.reach`.
        hidden: `[n, hidden]` from the layers before; None at the first layer.
    """

    tokens: Array
    positions: Array
    slots: Any
    reach: Any
    hidden: Array | None


class Kernels:
    """Operations of a Llama over arrays of the namespace `xp`.

    Args:
        xp: A namespace of the array API standard, such as `numpy`.
        device: Where its arrays are, in its own words; None for its default.

    Attributes:
        query_tile: Query rows that attend at once.
    """

    query_tile = QUERY_TILE

    def __init__(self, xp: Any, device: Any = None) -> None:
        self.xp, self.device = xp, device

    def array(self, values: Any) -> Array:
        """Bring numbers (a list, or a NumPy array) to the device."""
        return self.xp.asarray(values, device=self.device)

    def pool(self, shape: tuple[int, ...]) -> Array:
        """Allocate a KV pool of float32 zeros on the device, C-contiguous."""
        return self.xp.zeros(shape, dtype=self.xp.float32, device=self.device)

    def host(self, array: Array) -> NDArray[Any]:
        """Return an array's numbers as a NumPy array; all that was computed before is then done."""
        return np.from_dlpack(array)

    def finish(self) -> None:
        """Wait until all that was computed before is done, and in its place in the pool."""

    def linear(self, x: Array, weight: Array) -> Array:
        """Multiply rows `[n, in]` by a weight `[out, in]` as one matrix product; returns `[n, out]`."""
        return self.xp.matmul(x, weight.T)

    def linear_rows(self, x: Array, weight: Array) -> Array:
        """Like `linear`, each row computed as if it were alone."""
        rows = [self.linear(x[i : i + 1, :], weight) for i in range(x.shape[0])]
        return self.xp.concat(rows, axis=0)

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Scale each row of `[n, width]` to a root mean square of one, then by `weight` `[width]`."""
        mean_square = self.xp.vecdot(x, x)[:, None] / x.shape[1]
        return x / self.xp.sqrt(mean_square + eps) * weight

    def rotate(self, x: Array, cos: Array, sin: Array) -> Array:
        """Apply the rotary embedding.

        Args:
            x: `[n, heads, head_dim]`, dimension i paired with i + head_dim/2.
            cos: `[n, 1, head_dim/2]`, of each row's position.
            sin: The same shape.
        """
        half = x.shape[2] // 2
        first, second = x[:, :, :half], x[:, :, half:]
        return self.xp.concat([first * cos - second * sin, second * cos + first * sin], axis=2)

    def swiglu(self, gate_up: Array) -> Array:
        """Compute `silu(gate) * up` of `[n, 2 width]`, gate first; returns `[n, width]`."""
        width = gate_up.shape[1] // 2
        gate, up = gate_up[:, :width], gate_up[:, width:]
        return gate / (1 + self.xp.exp(self.xp.clip(-gate, max=MAX_EXPONENT))) * up

    def softmax(self, scores: Array) -> Array:
        """Softmax over the last axis."""
        powers = self.xp.exp(scores - self.xp.max(scores, axis=-1, keepdims=True))
        return powers / self.xp.sum(powers, axis=-1, keepdims=True)

    def filled(self, count: int) -> list[int]:
        """Return which of `count` sequences a pass decodes: all, and some twice where that is faster."""
        return list(range(count))

    def repeat(self, step: Callable[[Work], Array], work: Work) -> Array:
        """Do a step that comes again with work of this shape; its result is valid until the next."""
        return step(work)

    def slots(self, slots: list[tuple[int, int]]) -> Any:
        """Prepare block and offset in the block of each position, for `write_kv` of every layer."""
        return slots

    def pages(self, pool: Array, blocks: tuple[int, ...]) -> Any:
        """Prepare the blocks of a sequence, for `read_kv` of every layer."""
        del pool
        return blocks

    def write_kv(self, pool: Array, layer: int, slots: Any, keys_values: Array) -> None:
        """Put K and V of some positions in their places.

        Args:
            pool: `[num_blocks, layers, 2, kv_heads, block_tokens, head_dim]`
            layer: The layer that computed them.
            slots: From the method `slots`.
            keys_values: `[n, 2, kv_heads, head_dim]`
        """
        for i, (block, offset) in enumerate(slots):
            pool[block, layer, :, :, offset, :] = keys_values[i, ...]

    def read_kv(self, pool: Array, layer: int, pages: Any, tokens: int) -> tuple[Array, Array]:
        """Read K and V of the first `tokens` positions of a sequence, each `[kv_heads, tokens, head_dim]`.

        `pages` is from the method of this name. The arrays are valid until the next call.
        """
        paged = self.xp.stack([pool[block, layer, ...] for block in pages], axis=2)
        _, kv_heads, count, block_tokens, head_dim = paged.shape
        flat = self.xp.reshape(paged, (2, kv_heads, count * block_tokens, head_dim))
        return flat[0, :, :tokens, :], flat[1, :, :tokens, :]

    def scores(self, rows: Array, keys: Array) -> Array:
        """Multiply query rows `[kv_heads, n, head_dim]` by keys; returns `[kv_heads, n, tokens]`."""
        return self.xp.matmul(rows, self.xp.permute_dims(keys, (0, 2, 1)))

    def reach(self, pool: Array, segments: Sequence[Segment]) -> Any:
        """Prepare what segments attend to, for `attend_paged` of every layer."""
        return [(each, self.pages(pool, each.used(pool.shape[4]))) for each in segments]

    def attend_paged(self, pool: Array, layer: int, reach: Any, query: Array) -> Array:
        """Causal attention of the positions of several sequences, whose K and V are in the pool.

        Args:
            pool: `[num_blocks, layers, 2, kv_heads, block_tokens, head_dim]`
            layer: The layer.
            reach: From the method `reach`.
            query: `[n, heads, head_dim]` of all positions, in the order of the segments.

        Returns:
            `[n, heads * head_dim]`
        """
        mixed, row = [], 0
        for segment, pages in reach:
            rows = query[row : row + len(segment.tokens), :, :]
            keys, values = self.read_kv(pool, layer, pages, segment.end)
            mixed.append(self.attend(rows, keys, values, segment.start))
            row += len(segment.tokens)
        return mixed[0] if len(mixed) == 1 else self.xp.concat(mixed, axis=0)

    def attend(self, query: Array, keys: Array, values: Array, start: int) -> Array:
        """Causal attention of consecutive positions of one sequence.

        Args:
            query: `[n, heads, head_dim]` of the positions from `start` on.
            keys: `[kv_heads, start + n, head_dim]`, of all positions up to the last query.
            values: The same shape.
            start: Position of the first query.

        Returns:
            `[n, heads * head_dim]`
        """
        tiles = []
        for first in range(0, query.shape[0], self.query_tile):
            last = min(first + self.query_tile, query.shape[0])
            tile = query[first:last, :, :]
            seen = start + last
            tiles.append(self._attend_tile(tile, keys[:, :seen, :], values[:, :seen, :]))
        return tiles[0] if len(tiles) == 1 else self.xp.concat(tiles, axis=0)

    def _attend_tile(self, query: Array, keys: Array, values: Array) -> Array:
        """Attend with the last `n` of the positions that `keys` holds."""
        xp = self.xp
        n, heads, head_dim = query.shape
        kv_heads, seen, _ = keys.shape
        group = heads // kv_heads
        scaled = xp.reshape(query * (1 / math.sqrt(head_dim)), (n, kv_heads, group, head_dim))
        rows = xp.reshape(xp.permute_dims(scaled, (1, 2, 0, 3)), (kv_heads, group * n, head_dim))
        scores = self.scores(rows, keys)
        if n > 1:
            hidden = xp.full((n, seen), -math.inf, dtype=query.dtype, device=self.device)
            mask = xp.triu(hidden, k=seen - n + 1)
            scores = xp.reshape(xp.reshape(scores, (kv_heads, group, n, seen)) + mask, scores.shape)
        mixed = xp.reshape(xp.matmul(self.softmax(scores), values), (kv_heads, group, n, head_dim))
        return xp.reshape(xp.permute_dims(mixed, (2, 0, 1, 3)), (n, heads * head_dim))


class CpuKernels(Kernels):
    """The same operations on NumPy arrays, with fewer copies and each weight read from memory once."""

    def __init__(self) -> None:
        super().__init__(np)
        self._read = np.empty(0, dtype=np.float32)

    def pool(self, shape: tuple[int, ...]) -> Array:
        """Begin it on a page."""
        return page_aligned(shape)

    def linear_rows(self, x: Array, weight: Array) -> Array:
        """Multiply row by row, tile by tile: a tile stays in cache while all rows use it."""
        outputs, inputs = weight.shape
        result = np.empty((len(x), outputs), dtype=np.float32)
        tile = max(1, TILE_BYTES // (4 * inputs))
        for first in range(0, outputs, tile):
            part = weight[first : first + tile]
            for row, out in zip(x, result, strict=True):
                np.matmul(part, row, out=out[first : first + tile])
        return result

    def softmax(self, scores: Array) -> Array:
        """Softmax in place."""
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return scores

    def swiglu(self, gate_up: Array) -> Array:
        """Compute in one buffer."""
        gate, up = np.split(gate_up, 2, axis=1)
        result = np.negative(gate)
        np.minimum(result, MAX_EXPONENT, out=result)
        np.exp(result, out=result)
        result += 1
        np.divide(gate, result, out=result)
        result *= up
        return result

    def slots(self, slots: list[tuple[int, int]]) -> Any:
        """Turn the slots into index arrays."""
        return np.asarray(slots).T

    def pages(self, pool: Array, blocks: tuple[int, ...]) -> Any:
        """Number the segments of K and V per head that the first layer has in these blocks."""
        _, layers, _, kv_heads, _, _ = pool.shape
        in_block = np.arange(2 * kv_heads).reshape(2, kv_heads, 1)
        return np.asarray(blocks) * (layers * 2 * kv_heads) + in_block

    def write_kv(self, pool: Array, layer: int, slots: Any, keys_values: Array) -> None:
        """Scatter all positions at once."""
        blocks, offsets = slots
        pool[blocks, layer, :, :, offsets, :] = keys_values

    def read_kv(self, pool: Array, layer: int, pages: Any, tokens: int) -> tuple[Array, Array]:
        """Gather with one copy per block and head, into a buffer that is kept."""
        _, _, _, kv_heads, block_tokens, head_dim = pool.shape
        segments = pool.reshape(-1, block_tokens * head_dim)
        size = pages.size * block_tokens * head_dim
        if size > self._read.size:
            self._read = np.empty(size, dtype=np.float32)
        paged = self._read[:size].reshape(*pages.shape, block_tokens * head_dim)
        index = pages + layer * 2 * kv_heads
        np.take(segments, index, axis=0, out=paged, mode="clip")  # "raise" would copy once more
        flat = paged.reshape(2, kv_heads, -1, head_dim)
        return flat[0, :, :tokens], flat[1, :, :tokens]

    def scores(self, rows: Array, keys: Array) -> Array:
        """For few rows multiply tile by tile: BLAS is several times slower on all keys at once."""
        kv_heads, n, head_dim = rows.shape
        if n > FEW_ROWS:
            return super().scores(rows, keys)
        tokens = keys.shape[1]
        whole = tokens - tokens % KEY_TILE
        result = np.empty((kv_heads, n, tokens), dtype=np.float32)
        tiles = keys[:, :whole].reshape(kv_heads, -1, KEY_TILE, head_dim).swapaxes(2, 3)
        outs = result[:, :, :whole].reshape(kv_heads, n, -1, KEY_TILE).swapaxes(1, 2)
        np.matmul(rows[:, None], tiles, out=outs)
        np.matmul(rows, keys[:, whole:].swapaxes(1, 2), out=result[:, :, whole:])
        return result
