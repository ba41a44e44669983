"""The weights of a Llama in the layout that computing wants.

Every matrix is `[out, in]`, row-major: a matrix-vector product then reads memory once and in order. Q, K and
V are one matrix, and so are gate and up: fewer and longer reads. Q and K rows pair dimension i with
i + head_dim/2 for the rotary embedding.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from disagg_worker.model.spec import Array, LlamaSpec


@dataclass(frozen=True)
class LayerWeights:
    """One transformer layer.

    Attributes:
        attention_norm: `[hidden]`
        qkv: `[(heads + 2 kv_heads) head_dim, hidden]`
        output: `[hidden, heads head_dim]`
        mlp_norm: `[hidden]`
        gate_up: `[2 intermediate, hidden]`
        down: `[hidden, intermediate]`
    """

    attention_norm: Array
    qkv: Array
    output: Array
    mlp_norm: Array
    gate_up: Array
    down: Array


@dataclass(frozen=True)
class LlamaWeights:
    """All weights.

    Attributes:
        embedding: `[vocab, hidden]`
        layers: The layers from input to output.
        final_norm: `[hidden]`
        unembedding: `[vocab, hidden]`; the same array as `embedding` when they are tied.
    """

    embedding: Array
    layers: tuple[LayerWeights, ...]
    final_norm: Array
    unembedding: Array

    def arrays(self) -> Iterator[Array]:
        """Every distinct array, in a fixed order."""
        yield self.embedding
        for layer in self.layers:
            yield from vars(layer).values()
        yield self.final_norm
        if self.unembedding is not self.embedding:
            yield self.unembedding

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(int(array.nbytes) for array in self.arrays())


def empty_layer(spec: LlamaSpec) -> LayerWeights:
    """Allocate the arrays of a layer, to be filled in place."""

    def empty(*shape: int) -> Array:
        return np.empty(shape, dtype=np.float32)

    return LayerWeights(
        attention_norm=empty(spec.hidden),
        qkv=empty(spec.query_width + 2 * spec.kv_width, spec.hidden),
        output=empty(spec.hidden, spec.query_width),
        mlp_norm=empty(spec.hidden),
        gate_up=empty(2 * spec.intermediate, spec.hidden),
        down=empty(spec.hidden, spec.intermediate),
    )


def fingerprint(spec: LlamaSpec, weights: LlamaWeights) -> str:
    """Hash the spec and the weights: equal only for models whose KV caches mean the same.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(repr((spec, sorted(spec.eos_token_ids))).encode())
    for array in weights.arrays():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]
