"""Layouts that are measured: real models, as paged engines keep them."""

from collections.abc import Mapping
from dataclasses import replace

from disagg_worker.kv.cache import Axis, CacheLayout

# From each model's config.json: num_hidden_layers, num_key_value_heads, head_dim; of DeepSeek-R1 kv_lora_rank
# (512) and qk_rope_head_dim (64). gpt-oss keeps all tokens of every second layer only; here it keeps all.
LLAMA_70B = CacheLayout(80, 8, 128, 16, "bfloat16", 1, tp_size=2)
QWEN_32B = CacheLayout(64, 8, 128, 16, "bfloat16", 1)
GPT_OSS_120B = CacheLayout(36, 8, 64, 16, "bfloat16", 1)
DEEPSEEK_R1 = CacheLayout(61, 1, 576, 64, "bfloat16", 1, latent=True)
MODELS: Mapping[str, CacheLayout] = {
    "Llama-3.3-70B, TP 2": LLAMA_70B,
    "Qwen3-32B": QWEN_32B,
    "gpt-oss-120b": GPT_OSS_120B,
    "DeepSeek-R1 (MLA)": DEEPSEEK_R1,
}
BY_TOKEN: tuple[Axis, ...] = ("layer", "kv", "block", "token", "head", "dim")
CHANGES: Mapping[str, tuple[CacheLayout, CacheLayout]] = {
    "TP 1 to 2": (replace(LLAMA_70B, tp_size=1), LLAMA_70B),
    "TP 4 to 2": (replace(LLAMA_70B, tp_size=4), LLAMA_70B),
    "TP 2 to 8": (LLAMA_70B, replace(LLAMA_70B, tp_size=8)),
    "TP 1 to 2, heads within tokens": (
        replace(LLAMA_70B, tp_size=1, axes=BY_TOKEN),
        replace(LLAMA_70B, axes=BY_TOKEN),
    ),
    "blocks of 16 to 64 tokens": (LLAMA_70B, replace(LLAMA_70B, block_tokens=64)),
}
"""Layouts of both sides, of Llama-3.3-70B; what one rank reads from one other."""


def holding(layout: CacheLayout, tokens: int) -> CacheLayout:
    """A region that a prompt fills."""
    return replace(layout, blocks=layout.blocks_for(tokens))


def of_piece(size: int, total: int) -> CacheLayout:
    """A cache whose blocks are pieces of one size, in bytes, all in their own places."""
    return CacheLayout(1, 1, size // 4, 1, "bfloat16", total // size, axes=("block", "layer", "kv", "head",
                       "token", "dim"))  # fmt: skip
