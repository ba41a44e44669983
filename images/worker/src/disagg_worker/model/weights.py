"""The weights of a Llama in the layout that computing wants.

Every matrix is `[out, in]`, row-major: a matrix-vector product then reads memory once and in order. Q, K and
V are one matrix, and so are gate and up: fewer and longer reads. Q and K rows pair dimension i with
i + head_dim/2 for the rotary embedding.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
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
    """The weights of a model, or of those of its layers that one rank holds.

    Attributes:
        embedding: `[vocab, hidden]`; None where other ranks come before.
        layers: The layers from input to output.
        final_norm: `[hidden]`; None where other ranks come after, as `unembedding`.
        unembedding: `[vocab, hidden]`; the same array as `embedding` when they are tied.
    """

    embedding: Array | None
    layers: tuple[LayerWeights, ...]
    final_norm: Array | None
    unembedding: Array | None

    def arrays(self) -> Iterator[Array]:
        """Every array that is held, in the order of the model; one that is tied comes twice."""
        layers = (array for layer in self.layers for array in vars(layer).values())
        held = (self.embedding, *layers, self.final_norm, self.unembedding)
        yield from (array for array in held if array is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum({id(array): int(array.nbytes) for array in self.arrays()}.values())


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


def placed(weights: LlamaWeights, put: Callable[[Array], Array]) -> LlamaWeights:
    """Bring each array to where it is computed with; those that are tied stay one.

    Args:
        weights: NumPy arrays.
        put: Makes the array there.
    """
    layers = tuple(
        LayerWeights(**{name: put(array) for name, array in vars(layer).items()}) for layer in weights.layers
    )
    embedding, norm, unembedding = (
        None if array is None else put(array)
        for array in (weights.embedding, weights.final_norm, weights.unembedding)
    )
    tied = weights.unembedding is weights.embedding
    return LlamaWeights(embedding, layers, norm, embedding if tied else unembedding)


def digests(weights: LlamaWeights) -> tuple[str, ...]:
    """Hash each array that is held. Those of all ranks, one after the other, are those of the whole model."""
    known: dict[int, str] = {}
    for array in weights.arrays():
        if id(array) not in known:
            known[id(array)] = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    return tuple(known[id(array)] for array in weights.arrays())


def fingerprint(spec: LlamaSpec, hashed: Iterable[str]) -> str:
    """Hash a whole model: equal only for models whose KV caches mean the same.

    Args:
        spec: Dimensions.
        hashed: The `digests` of all its arrays.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(repr((spec, sorted(spec.eos_token_ids))).encode())
    for each in hashed:
        digest.update(each.encode())
    return digest.hexdigest()[:32]
