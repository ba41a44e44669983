"""Bytes of KV cache: of a token, of a request, and where several GPUs share it. Pure."""

from enum import StrEnum

from disagg_operator.api.wording import readable
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.model import ModelShape
from disagg_operator.verify.kv import bytes_per_token


class KvType(StrEnum):
    """Types of the KV cache; ``auto`` for what the model's files say."""

    AUTO = "auto"
    BF16 = "bf16"
    FP8 = "fp8"
    NVFP4 = "nvfp4"


def token_bytes(shape: ModelShape, dtype: KvType = KvType.AUTO) -> float:
    """Return the bytes of KV cache of one token over all layers: the formula by which verification judges.

    Args:
        shape: the model.
        dtype: type of the cache, or what the model's files say.

    Raises:
        SizingError: the type is not known.
    """
    found = bytes_per_token(shape.geometry, dtype)
    if found is None:
        named = readable(repr(shape.geometry.dtype), 40)
        raise SizingError(
            f"--kv-dtype: the type of {shape.name}'s KV cache is not known ({named}). "
            f"Write one of: {', '.join(each for each in KvType if each is not KvType.AUTO)}"
        )
    return found


def windowed_bytes(shape: ModelShape, tokens: int, dtype: KvType = KvType.AUTO) -> float:
    """Return the bytes that are left of a sequence where sliding layers drop what left their window."""
    kept = (shape.layers - shape.sliding) * tokens + shape.sliding * min(tokens, shape.window)
    return token_bytes(shape, dtype) * kept / shape.layers


def copies(shape: ModelShape, gpus: int) -> int:
    """Return how many of the GPUs that share an instance hold the same head.

    A latent is not split: with attention data parallelism each GPU has requests of its own, so that there is
    one copy of each.
    """
    return 1 if shape.latent else max(1, gpus // (shape.geometry.kv_heads or 1))


def streams(shape: ModelShape, prefill_gpus: int, decode_gpus: int) -> int:
    """Return how many GPUs of each side move one request's cache at the same time."""
    heads = 1 if shape.latent else shape.geometry.kv_heads or 1
    return min(prefill_gpus, decode_gpus, heads)
