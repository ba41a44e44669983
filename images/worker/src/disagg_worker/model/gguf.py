"""Reading a Llama from a GGUF file: its metadata as a spec, its tensors dequantised to float32.

Tensors are dequantised in slices straight into their place in the fused matrices, so that loading needs
little more memory than the weights themselves.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, ReaderTensor, dequantize

from disagg_worker.layers import ALONE, Place
from disagg_worker.model.spec import Array, LlamaSpec
from disagg_worker.model.weights import LayerWeights, LlamaWeights, empty_layer

SLICE_ROWS = 2048


class ModelError(Exception):
    """The model file cannot be used; the text says why."""


def read_gguf(path: Path, place: Place = ALONE) -> tuple[LlamaSpec, LlamaWeights]:
    """Read a Llama-architecture model, or the part of it that a rank holds.

    Args:
        path: The GGUF file, in any quantisation that the gguf package can undo.
        place: Which rank reads.

    Raises:
        ModelError: The file is missing, is not a GGUF, or holds what this engine does not compute.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; the model directory must hold model.gguf")
    try:
        reader = GGUFReader(path)
    except ValueError as error:
        raise ModelError(f"{path}: is not a usable GGUF file ({error})") from None
    spec = _read_spec(reader, path)
    if place.ranks > spec.layers:
        raise ModelError(
            f"{path}: {place.ranks} nodes cannot share {spec.layers} layers; give it as many nodes at most"
        )
    return spec, _Tensors(reader, path).weights(spec, place)


def _read_spec(reader: GGUFReader, path: Path) -> LlamaSpec:
    def field(name: str, default: Any = None) -> Any:
        found = reader.get_field(name)
        return default if found is None else found.contents()

    def required(name: str) -> Any:
        value = field(name)
        if value is None:
            raise ModelError(f"{path}: the field {name} is missing")
        return value

    if (architecture := field("general.architecture")) != "llama":
        raise ModelError(f"{path}: architecture {architecture!r}; only 'llama' is supported")
    if (scaling := field("llama.rope.scaling.type", "none")) != "none":
        raise ModelError(f"{path}: RoPE scaling {scaling!r} is not supported")
    hidden, heads = required("llama.embedding_length"), required("llama.attention.head_count")
    head_dim = field("llama.attention.key_length", hidden // heads)
    if field("llama.rope.dimension_count", head_dim) != head_dim:
        raise ModelError(f"{path}: RoPE over a part of a head is not supported")
    eos = field("tokenizer.ggml.eos_token_id")
    return LlamaSpec(
        vocab=field("llama.vocab_size") or len(required("tokenizer.ggml.tokens")),
        layers=required("llama.block_count"),
        hidden=hidden,
        intermediate=required("llama.feed_forward_length"),
        heads=heads,
        kv_heads=field("llama.attention.head_count_kv", heads),
        head_dim=head_dim,
        rope_theta=float(field("llama.rope.freq_base", 10000.0)),
        rms_eps=float(required("llama.attention.layer_norm_rms_epsilon")),
        context=required("llama.context_length"),
        eos_token_ids=frozenset() if eos is None else frozenset({eos}),
    )


_LAYER = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
)
"""Tensors of a layer, in the order in which `_Tensors` places them."""
_EMBEDDING, _NORM, _UNEMBEDDING = "token_embd.weight", "output_norm.weight", "output.weight"


class _Tensors:
    """The tensors of one file, none of which may be of no known use."""

    def __init__(self, reader: GGUFReader, path: Path) -> None:
        self._found = {tensor.name: tensor for tensor in reader.tensors}
        self._path = path

    def weights(self, spec: LlamaSpec, place: Place) -> LlamaWeights:
        self._require_known(spec)
        embedding = final_norm = unembedding = None
        if place.is_first:
            embedding = self._matrix(_EMBEDDING, spec.vocab, spec.hidden)
        own = place.layers(spec.layers)
        layers = tuple(self._layer(spec, index) for index in range(own.first, own.end))
        if place.is_last:
            final_norm = np.empty(spec.hidden, dtype=np.float32)
            self._fill(_NORM, final_norm)
            unembedding = self._unembedding(spec, embedding)
        return LlamaWeights(embedding, layers, final_norm, unembedding)

    def _require_known(self, spec: LlamaSpec) -> None:
        layers = {_name(index, part) for index in range(spec.layers) for part in _LAYER}
        if unknown := self._found.keys() - layers - {_EMBEDDING, _NORM, _UNEMBEDDING}:
            raise ModelError(f"{self._path}: tensors of no known use: {', '.join(sorted(unknown)[:5])}")

    def _unembedding(self, spec: LlamaSpec, embedding: Array | None) -> Array:
        if _UNEMBEDDING in self._found:
            return self._matrix(_UNEMBEDDING, spec.vocab, spec.hidden)
        return self._matrix(_EMBEDDING, spec.vocab, spec.hidden) if embedding is None else embedding

    def _layer(self, spec: LlamaSpec, index: int) -> LayerWeights:
        layer = empty_layer(spec)
        query, key, value = np.split(layer.qkv, [spec.query_width, spec.query_width + spec.kv_width])
        gate, up = np.split(layer.gate_up, 2)
        attention = (layer.attention_norm, query, key, value, layer.output)
        for part, place in zip(_LAYER, (*attention, layer.mlp_norm, gate, up, layer.down), strict=True):
            self._fill(_name(index, part), place)
        for rotated, heads in ((query, spec.heads), (key, spec.kv_heads)):
            rotated[...] = halves_from_pairs(rotated, heads)
        return layer

    def _matrix(self, name: str, rows: int, columns: int) -> Array:
        matrix = np.empty((rows, columns), dtype=np.float32)
        self._fill(name, matrix)
        return matrix

    def _fill(self, name: str, place: Array) -> None:
        tensor: ReaderTensor | None = self._found.get(name)
        if tensor is None:
            raise ModelError(f"{self._path}: the tensor {name} is missing")
        shape = tuple(int(length) for length in reversed(tensor.shape))
        if shape != place.shape:
            raise ModelError(f"{self._path}: {name} has shape {shape} where {place.shape} is expected")
        undo: Callable[[Any], Any] = lambda rows: dequantize(rows, tensor.tensor_type)  # noqa: E731
        for start in range(0, len(place), SLICE_ROWS):
            place[start : start + SLICE_ROWS] = undo(tensor.data[start : start + SLICE_ROWS])


def _name(layer: int, part: str) -> str:
    return f"blk.{layer}.{part}.weight"


def halves_from_pairs(rows: Array, heads: int) -> Array:
    """Reorder the rows of a Q or K matrix from GGUF's rotary pairs (2i, 2i+1) to halves (i, i + head_dim/2).

    Args:
        rows: `[heads head_dim, hidden]`
        heads: Heads in it.

    Returns:
        A reordered copy. Scores do not change, because Q and K are reordered alike.
    """
    total, columns = rows.shape
    pairs = rows.reshape(heads, total // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(total, columns)
