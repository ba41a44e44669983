"""The shape of a model, out of its ``config.json``: parameters, work and weights.

Dense transformers and mixtures of experts with grouped-query or multi-head latent attention are counted.
Norms, biases and routers' corrections are left out: less than 0.1 % of any model here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from disagg_operator.api.wording import readable
from disagg_operator.sizing.errors import SizingError
from disagg_operator.verify.evidence import Model

_CHECKED = (
    "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gpt_oss", "deepseek_v2", "deepseek_v3",
)  # fmt: skip
"""Families whose parameters are counted as here. Others are refused: a wrong count would look right."""
_LARGEST = 2**31 - 1
"""Number that a configuration may hold: no model's is near it, and all products stay finite."""
_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts")
_KV_TYPES = {"FP8": "fp8", "NVFP4": "nvfp4"}


class Weights(StrEnum):
    """Types of weights."""

    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"
    INT4 = "int4"


_BITS = {
    Weights.BF16: 16.0,
    Weights.FP8: 8.0,
    Weights.INT8: 8.0,
    Weights.NVFP4: 4.5,
    Weights.MXFP4: 4.25,
    Weights.INT4: 4.25,
}
"""Bits of a weight, scales included: NVFP4 has one FP8 scale for 16 values, MXFP4 one byte for 32, INT4 as
AWQ and GPTQ write it one of 16 bits for 128 and zeros."""
_COMPUTED_IN = {
    Weights.BF16: "bf16",
    Weights.FP8: "fp8",
    Weights.INT8: "bf16",
    Weights.NVFP4: "fp4",
    Weights.MXFP4: "fp8",
    Weights.INT4: "bf16",
}
_METHODS = {
    "fp8": Weights.FP8,
    "fbgemm_fp8": Weights.FP8,
    "mxfp4": Weights.MXFP4,
    "awq": Weights.INT4,
    "gptq": Weights.INT4,
}
"""By ``quant_method`` of ``config.json``."""
_ALGORITHMS = {
    "FP8": Weights.FP8,
    "FP8_PB_WO": Weights.FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": Weights.FP8,
    "NVFP4": Weights.NVFP4,
    "W4A16_AWQ": Weights.INT4,
}
"""By ``quant_algo`` of ModelOpt."""


@dataclass(frozen=True)
class ModelShape:
    """What sizes a model's KV cache, weights and work.

    Attributes:
        name: what it is called.
        geometry: of its KV cache, as verification knows it.
        hidden: elements of a hidden state.
        heads: query heads.
        key_dim: elements of a query against which a key is held.
        value_dim: elements of a value.
        attention: parameters of the attention of all layers.
        dense: parameters of feed-forward layers that every token passes, routers and shared experts.
        expert: parameters of one routed expert over all layers that have it.
        experts: routed experts of a layer; 0 for a dense model.
        chosen: of these, how many each token passes.
        embedding: parameters of the input's embedding.
        head: parameters of the output's head that are read (those of the embedding where they are shared).
        shared_head: whether they are shared.
        weights: type of the weights.
        longest: tokens that the model was made for; 0 where it does not say.
        sliding: layers that look at no more than the newest tokens.
        window: how many these are.
    """

    name: str
    geometry: Model
    hidden: int
    heads: int
    key_dim: int
    value_dim: int
    attention: int
    dense: int
    expert: int
    experts: int
    chosen: int
    embedding: int
    head: int
    shared_head: bool
    weights: Weights
    longest: int = 0
    sliding: int = 0
    window: int = 0

    @property
    def layers(self) -> int:
        """Layers."""
        return self.geometry.layers or 0

    @property
    def latent(self) -> bool:
        """Whether it has multi-head latent attention."""
        return bool(self.geometry.kv_lora_rank)

    @property
    def parameters(self) -> int:
        """All parameters."""
        head = 0 if self.shared_head else self.head
        return self.attention + self.dense + self.expert * self.experts + self.embedding + head

    @property
    def active(self) -> int:
        """Parameters that one token of a prompt is multiplied with: without the embedding and the head."""
        return self.attention + self.dense + self.expert * self.chosen

    @property
    def computed_in(self) -> str:
        """Type in which products are computed where the GPU can: ``bf16``, ``fp8`` or ``fp4``."""
        return _COMPUTED_IN[self.weights]

    @property
    def attention_bytes(self) -> float:
        """Bytes of the attention's weights."""
        return self.attention * self._rest_bits / 8

    @property
    def embedding_bytes(self) -> float:
        """Bytes of embedding and head, which stay in 16 bits."""
        return 2.0 * (self.embedding + (0 if self.shared_head else self.head))

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights."""
        every = self.experts if self.experts else 0
        return self.attention_bytes + self.embedding_bytes + self._feed_forward_bytes(every)

    def read_bytes(self, tokens: float) -> float:
        """Return the bytes of weights that a step reads which computes some tokens.

        Of routed experts those that at least one token passes, where every choice is as likely as another.
        """
        touched = self.experts * (1 - (1 - self.chosen / self.experts) ** tokens) if self.experts else 0.0
        return self.attention_bytes + self._feed_forward_bytes(touched) + 2.0 * self.head

    def _feed_forward_bytes(self, experts: float) -> float:
        return (self.dense * self._rest_bits + self.expert * experts * _BITS[self.weights]) / 8

    @property
    def _rest_bits(self) -> float:
        """Bits of a weight outside of routed experts: MXFP4 models keep the rest in 16."""
        return _BITS[Weights.BF16] if self.weights is Weights.MXFP4 else _BITS[self.weights]


def shape_of(
    name: str,
    config: Mapping[str, Any],
    quantisation: Mapping[str, Any] | None = None,
    weights: Weights | None = None,
) -> ModelShape:
    """Return the shape of a model.

    Args:
        name: what it is called.
        config: its ``config.json``.
        quantisation: ``hf_quant_config.json`` beside it, as NVIDIA's ModelOpt writes it.
        weights: type of the weights where the file shall not decide.

    Raises:
        SizingError: it lacks what is needed, or is of a family that is not known.
    """
    text = config.get("text_config")
    merged = {**config, **text} if isinstance(text, Mapping) else dict(config)
    reader = _Reader(name, merged)
    family = str(merged.get("model_type"))
    if family not in _CHECKED:
        raise reader.fault(
            f"model_type {family!r} is not among those that can be counted",
            f"Use a model of one of: {', '.join(_CHECKED)}",
        )
    hidden, layers = reader.number("hidden_size"), reader.number("num_hidden_layers")
    heads, vocabulary = reader.number("num_attention_heads"), reader.number("vocab_size")
    geometry, key_dim, value_dim, attention = _attention(reader, hidden, layers, heads)
    dense, expert, experts, chosen = _feed_forward(reader, hidden, layers)
    kinds = merged.get("layer_types")
    sliding = kinds.count("sliding_attention") if isinstance(kinds, list) else 0
    return ModelShape(
        name=name,
        geometry=geometry.model_copy(update={"dtype": _kv_type(merged, quantisation)}),
        hidden=hidden,
        heads=heads,
        key_dim=key_dim,
        value_dim=value_dim,
        attention=attention,
        dense=dense,
        expert=expert,
        experts=experts,
        chosen=chosen,
        embedding=vocabulary * hidden,
        head=vocabulary * hidden,
        shared_head=merged.get("tie_word_embeddings") is True,
        weights=weights or _weights(reader, merged, quantisation),
        longest=reader.number("max_position_embeddings", 0),
        sliding=sliding,
        window=reader.number("sliding_window", 0) if sliding else 0,
    )


@dataclass(frozen=True)
class _Reader:
    """Reads whole numbers of a configuration."""

    name: str
    config: Mapping[str, Any]

    def number(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key, default)
        if value is None and default is not None:
            value = default
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or value < 0
            or value > _LARGEST
            or (value == 0 and default is None)
        ):
            raise self.fault(f"{key} is {readable(repr(value), 40)}", "It must be a whole number above 0")
        return value

    def fault(self, what: str, instead: str) -> SizingError:
        return SizingError(f"--model: config.json of {self.name}: {what}. {instead}")


def _attention(reader: _Reader, hidden: int, layers: int, heads: int) -> tuple[Model, int, int, int]:
    if "kv_lora_rank" in reader.config and reader.config["kv_lora_rank"] is not None:
        latent, rope = reader.number("kv_lora_rank"), reader.number("qk_rope_head_dim")
        plain, value = reader.number("qk_nope_head_dim"), reader.number("v_head_dim")
        query_rank = reader.number("q_lora_rank", 0)
        key = plain + rope
        query = query_rank * (hidden + heads * key) if query_rank else hidden * heads * key
        each = query + hidden * (latent + rope) + latent * heads * (plain + value) + heads * value * hidden
        geometry = Model(layers=layers, kv_lora_rank=latent, rope_head_dim=rope)
        return geometry, key, value, layers * each
    dim = reader.number("head_dim", hidden // heads)
    kv_heads = reader.number("num_key_value_heads", heads)
    each = hidden * dim * (2 * heads + 2 * kv_heads)
    return Model(layers=layers, kv_heads=kv_heads, head_dim=dim), dim, dim, layers * each


def _feed_forward(reader: _Reader, hidden: int, layers: int) -> tuple[int, int, int, int]:
    """Return parameters that every token passes, those of an expert, and how many there are and are used."""
    plain = 3 * hidden * reader.number("intermediate_size")
    experts = next((reader.number(key) for key in _EXPERTS if reader.config.get(key)), 0)
    if not experts:
        return layers * plain, 0, 0, 0
    width = reader.number("moe_intermediate_size", reader.number("intermediate_size"))
    dense_layers = min(reader.number("first_k_dense_replace", 0), layers)
    routed = layers - dense_layers
    each = 3 * hidden * width
    shared = reader.number("n_shared_experts", 0) * each
    dense = dense_layers * plain + routed * (shared + hidden * experts)
    chosen = reader.number("num_experts_per_tok")
    if chosen > experts:
        raise reader.fault(
            f"num_experts_per_tok is {chosen}", f"It must be at most the {experts} experts that there are"
        )
    return dense, routed * each, experts, chosen


def _weights(reader: _Reader, config: Mapping[str, Any], quantisation: Mapping[str, Any] | None) -> Weights:
    own = config.get("quantization_config")
    own = own if isinstance(own, Mapping) else {}
    beside = (quantisation or {}).get("quantization")
    algorithm = (beside if isinstance(beside, Mapping) else {}).get("quant_algo", own.get("quant_algo"))
    method = own.get("quant_method")
    if algorithm is None and method is None:
        return Weights.BF16
    found = _ALGORITHMS.get(str(algorithm)) or _METHODS.get(str(method))
    if found is None:
        named = readable(repr(method if algorithm is None else algorithm), 40)
        raise reader.fault(f"weights of type {named} are not known", f"Write --weights {'|'.join(Weights)}")
    return found


def _kv_type(config: Mapping[str, Any], quantisation: Mapping[str, Any] | None) -> str:
    beside = (quantisation or {}).get("quantization")
    algorithm = beside.get("kv_cache_quant_algo") if isinstance(beside, Mapping) else None
    if algorithm is not None:
        return _KV_TYPES.get(str(algorithm), str(algorithm))
    written = config.get("torch_dtype") or config.get("dtype")
    return written if isinstance(written, str) else "bfloat16"
