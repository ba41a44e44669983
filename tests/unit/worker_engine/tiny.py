"""A Llama of some thousand random weights, an engine over it, and its forward pass as naive loops."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from disagg_worker.config import EngineConfig, parse_config
from disagg_worker.engine import Engine
from disagg_worker.layers import Place
from disagg_worker.model.spec import LlamaSpec
from disagg_worker.model.weights import LlamaWeights, empty_layer

SPEC = LlamaSpec(
    vocab=61,
    layers=2,
    hidden=24,
    intermediate=40,
    heads=4,
    kv_heads=2,
    head_dim=128,
    rope_theta=10000.0,
    rms_eps=1e-5,
    context=256,
    eos_token_ids=frozenset({2}),
)


def tiny_weights(seed: int = 0, spec: LlamaSpec = SPEC) -> LlamaWeights:
    """Random weights, such that the next token depends on all before (tied ones would repeat the last)."""
    rng = np.random.default_rng(seed)
    layers = tuple(empty_layer(spec) for _ in range(spec.layers))
    embedding, unembedding = rng.standard_normal((2, spec.vocab, spec.hidden), dtype=np.float32)
    weights = LlamaWeights(embedding, layers, np.ones(spec.hidden, dtype=np.float32), unembedding / 2)
    for layer in layers:
        for array in vars(layer).values():
            scale = 0.1 if array.ndim == 1 else 1.5 / math.sqrt(array.shape[-1])
            array[...] = (array.ndim == 1) + scale * rng.standard_normal(array.shape, dtype=np.float32)
    return weights


def tiny_config(
    *,
    block_tokens: int = 4,
    mib: int = 1,
    batch: int = 4,
    chunk: int = 8,
    longest: int = 128,
    waiting: int = 256,
    reuse: bool = False,
) -> EngineConfig:
    """A configuration for the tiny model: one MiB of KV memory is 256 positions."""
    return parse_config(
        {
            "model": {"path": "unused", "name": "tiny"},
            "kv_cache": {"block_tokens": block_tokens, "memory_mib": mib, "enable_block_reuse": reuse},
            "scheduler": {
                "max_batch_size": batch,
                "prefill_chunk_tokens": chunk,
                "max_sequence_tokens": longest,
                "max_waiting_requests": waiting,
            },
            "compute": {"threads": 1},
        }
    )


def tiny_engine(*, reuse: bool = False, **sizes: int) -> Engine:
    """An engine over the tiny model; arguments as of `tiny_config`."""
    return Engine(tiny_config(reuse=reuse, **sizes), SPEC, tiny_weights())


def prompt(length: int, seed: int = 0) -> list[int]:
    """Random token ids without the end-of-text token."""
    return [int(token) for token in np.random.default_rng(seed).integers(3, SPEC.vocab, length)]


def naive_logits(spec: LlamaSpec, weights: LlamaWeights, tokens: Sequence[int]) -> NDArray[np.float64]:
    """Logits at every position, one position, layer and head after the other, in float64, without cache."""
    embedding, norm, unembedding = map(
        np.asarray, (weights.embedding, weights.final_norm, weights.unembedding)
    )
    states = [embedding[token].astype(np.float64) for token in tokens]
    for layer in weights.layers:
        keys: list[NDArray[np.float64]] = []
        values: list[NDArray[np.float64]] = []
        for position, x in enumerate(states):
            qkv = layer.qkv.astype(np.float64) @ naive_rms(x, layer.attention_norm, spec.rms_eps)
            query, key, value = np.split(
                qkv.reshape(-1, spec.head_dim), [spec.heads, spec.heads + spec.kv_heads]
            )
            keys.append(np.stack([naive_rope(k, position, spec.rope_theta) for k in key]))
            values.append(value)
            turned = [naive_rope(q, position, spec.rope_theta) for q in query]
            group = spec.heads // spec.kv_heads
            mixed = [naive_attend(q, head // group, keys, values) for head, q in enumerate(turned)]
            y = x + layer.output.astype(np.float64) @ np.concatenate(mixed)
            normed = naive_rms(y, layer.mlp_norm, spec.rms_eps)
            gate, up = np.split(layer.gate_up.astype(np.float64) @ normed, 2)
            states[position] = y + layer.down.astype(np.float64) @ (gate / (1 + np.exp(-gate)) * up)
    finals = [naive_rms(x, norm, spec.rms_eps) for x in states]
    return np.stack([unembedding.astype(np.float64) @ x for x in finals])


def naive_rms(x: NDArray[np.float64], weight: NDArray[np.float32], eps: float) -> NDArray[np.float64]:
    """RMSNorm of one vector."""
    total = 0.0
    for value in x:
        total += float(value) ** 2
    return x / math.sqrt(total / len(x) + eps) * weight


def naive_rope(x: NDArray[np.float64], position: int, theta: float) -> NDArray[np.float64]:
    """Rotate each pair (i, i + half) of one head by its angle."""
    half = len(x) // 2
    turned = np.empty(len(x))
    for i in range(half):
        angle = position * theta ** (-2 * i / len(x))
        turned[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
        turned[i + half] = x[i + half] * math.cos(angle) + x[i] * math.sin(angle)
    return turned


def naive_attend(
    query: NDArray[np.float64], head: int, keys: list[NDArray[np.float64]], values: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Attention of one query head over the positions so far."""
    weights = [math.exp(float(query @ key[head]) / math.sqrt(len(query))) for key in keys]
    total = sum(weights)
    mixed = np.zeros(len(query))
    for weight, value in zip(weights, values, strict=True):
        mixed += weight / total * value[head]
    return mixed


def parted(weights: LlamaWeights, place: Place) -> LlamaWeights:
    """The part of a model's weights that a rank holds."""
    own = place.layers(len(weights.layers))
    return LlamaWeights(
        weights.embedding if place.is_first else None,
        weights.layers[own.first : own.end],
        weights.final_norm if place.is_last else None,
        weights.unembedding if place.is_last else None,
    )
