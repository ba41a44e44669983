"""Attention of one position of each of several sequences over a paged KV cache, as one Triton kernel.

Each program computes the query heads of one KV head of one sequence, tile after tile of its positions. What a
sequence gives does therefore not depend on the others, bit for bit.
"""

import math

import torch
import triton
import triton.language as tl

from disagg_worker.model.spec import Array

TILE = 32


def attend(query: Array, pool: Array, layer: int, table: Array, lengths: Array) -> Array:
    """Attend to the first `lengths[i]` positions of each sequence.

    Args:
        query: float32 `[sequences, heads, head_dim]`; a head's numbers follow each other, as do its heads.
        pool: float32 `[num_blocks, layers, 2, kv_heads, block_tokens, head_dim]`, head_dim a power of two.
        layer: The layer.
        table: int32 `[sequences, blocks]`, the blocks of each sequence.
        lengths: int32 `[sequences]`.

    Returns:
        float32 `[sequences, heads * head_dim]`
    """
    sequences, heads, head_dim = query.shape
    _, _, _, kv_heads, block_tokens, _ = pool.shape
    mixed = torch.empty((sequences, heads * head_dim), dtype=torch.float32, device=query.device)
    group = heads // kv_heads
    # Triton launches on the device of its thread.
    with torch.cuda.device_of(query):
        _attend[(sequences, kv_heads)](
            query,
            pool,
            table,
            lengths,
            mixed,
            query.stride(0),
            pool.stride(0),
            layer * pool.stride(1),
            table.stride(0),
            1 / math.sqrt(head_dim),
            GROUP=group,
            PADDED=triton.next_power_of_2(group),
            KV_HEADS=kv_heads,
            BLOCK_TOKENS=block_tokens,
            HEAD_DIM=head_dim,
            TILE=TILE,
        )
    return mixed


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _attend(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917 - Triton's compiler reads the annotations
    query,  # noqa: ANN001
    pool,  # noqa: ANN001
    table,  # noqa: ANN001
    lengths,  # noqa: ANN001
    mixed,  # noqa: ANN001
    query_stride,  # noqa: ANN001
    block_stride,  # noqa: ANN001
    layer_at,  # noqa: ANN001
    table_stride,  # noqa: ANN001
    scale,  # noqa: ANN001
    GROUP: tl.constexpr,  # noqa: N803
    PADDED: tl.constexpr,  # noqa: N803
    KV_HEADS: tl.constexpr,  # noqa: N803
    BLOCK_TOKENS: tl.constexpr,  # noqa: N803
    HEAD_DIM: tl.constexpr,  # noqa: N803
    TILE: tl.constexpr,  # noqa: N803
):
    sequence, head = tl.program_id(0), tl.program_id(1)
    length = tl.load(lengths + sequence)
    dims, members = tl.arange(0, HEAD_DIM), tl.arange(0, PADDED)
    is_member = (members < GROUP)[:, None]
    rows = (head * GROUP + members)[:, None] * HEAD_DIM + dims[None, :]
    scaled = tl.load(query + sequence * query_stride + rows, mask=is_member, other=0.0) * scale
    keys = pool + layer_at + head * BLOCK_TOKENS * HEAD_DIM
    values = keys + KV_HEADS * BLOCK_TOKENS * HEAD_DIM
    best = tl.full([PADDED], float("-inf"), tl.float32)
    total = tl.zeros([PADDED], tl.float32)
    result = tl.zeros([PADDED, HEAD_DIM], tl.float32)
    first = 0
    while first < length:  # Triton's interpreter knows no range of a loaded length
        at = first + tl.arange(0, TILE)
        seen = at < length
        blocks = tl.load(table + sequence * table_stride + at // BLOCK_TOKENS, mask=seen, other=0)
        starts = blocks.to(tl.int64) * block_stride + (at % BLOCK_TOKENS) * HEAD_DIM
        places = starts[:, None] + dims[None, :]
        key = tl.load(keys + places, mask=seen[:, None], other=0.0)
        value = tl.load(values + places, mask=seen[:, None], other=0.0)
        scores = tl.sum(scaled[:, None, :] * key[None, :, :], axis=2)
        scores = tl.where(seen[None, :], scores, float("-inf"))
        largest = tl.maximum(best, tl.max(scores, axis=1))
        powers = tl.exp(scores - largest[:, None])
        shrink = tl.exp(best - largest)
        total = total * shrink + tl.sum(powers, axis=1)
        result = result * shrink[:, None] + tl.sum(powers[:, :, None] * value[None, :, :], axis=1)
        best = largest
        first += TILE
    tl.store(mixed + sequence * KV_HEADS * GROUP * HEAD_DIM + rows, result / total[:, None], mask=is_member)
