"""How many bytes of KV cache a token takes."""

from disagg_operator.verify.evidence import Model

_BYTES = {
    "float32": 4.0,
    "fp32": 4.0,
    "float16": 2.0,
    "half": 2.0,
    "fp16": 2.0,
    "bfloat16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "float8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "float8_e4m3fn": 1.0,
    "float8_e5m2": 1.0,
    "int8": 1.0,
    "fp4": 0.5,
    "nvfp4": 0.5,
}
"""Bytes of an element by the names that engines and ``config.json`` write. Scales beside the elements of
narrow types are left out: they add, and the verdict asks for at least 9/10 of this."""


def bytes_per_token(model: Model, dtype: str = "") -> float | None:
    """Return the bytes of KV cache of one token over all layers.

    2 * layers * KV heads * elements of a head * bytes of an element (keys and values); with multi-head latent
    attention layers * (kv_lora_rank + qk_rope_head_dim) * bytes of an element: one compressed vector serves
    both. Sources: Fregly, AI Systems Performance Engineering, chapter 17; DeepSeek-V2, section 2.1.

    Args:
        model: geometry.
        dtype: type of the KV cache where it differs from that of the weights; empty or ``auto`` for the same.

    Returns:
        The number, or None where the geometry or the type is not known.
    """
    named = dtype if dtype and dtype.lower() != "auto" else model.dtype or ""
    size = _BYTES.get(named.lower().removeprefix("torch."))
    if size is None or not _positive(model.layers):
        return None
    if _positive(model.kv_lora_rank):
        return (
            float(model.layers or 0) * ((model.kv_lora_rank or 0) + max(model.rope_head_dim or 0, 0)) * size
        )
    if not (_positive(model.kv_heads) and _positive(model.head_dim)):
        return None
    return 2.0 * (model.layers or 0) * (model.kv_heads or 0) * (model.head_dim or 0) * size


def _positive(number: int | None) -> bool:
    return number is not None and number > 0
