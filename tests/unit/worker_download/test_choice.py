"""Which files of a repository are fetched, and what is said of progress."""

import pytest

from disagg_worker.download.choice import chosen
from disagg_worker.download.progress import line, size

LLAMA = [
    ".gitattributes",
    "LICENSE",
    "config.json",
    "generation_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "original/consolidated.00.pth",
    "original/params.json",
    "pytorch_model.bin",
    "tokenizer.json",
    "tokenizer.model",
]


def test_weights_are_fetched_once() -> None:
    assert chosen(LLAMA, ()) == [
        "LICENSE",
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer.model",
    ]


def test_without_safetensors_other_weights_are_fetched() -> None:
    assert "pytorch_model.bin" in chosen(["config.json", "pytorch_model.bin"], ())
    assert "model.gguf" in chosen(["config.json", "model.gguf"], ())


def test_safetensors_in_a_folder_do_not_hide_the_weights_beside_it() -> None:
    assert "pytorch_model.bin" in chosen(["pytorch_model.bin", "adapter/adapter.safetensors"], ())


def test_what_the_user_asks_for_is_all_that_is_fetched() -> None:
    assert chosen(LLAMA, ["original/*", "*.model"]) == [
        "original/consolidated.00.pth",
        "original/params.json",
        "tokenizer.model",
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (7.6e9, "7.6 GB"), (1.4e12, "1.4 TB")]
)
def test_sizes_are_written_for_people(number: float, text: str) -> None:
    assert size(number) == text


def test_progress_never_passes_the_whole() -> None:
    assert line(1_200_000_000, 7_600_000_000, 110e6) == "15 % fetched: 1.2 GB of 7.6 GB, 110.0 MB/s"
    assert line(8, 4, 0).startswith("100 % fetched: 4 B of 4 B")
    assert line(0, 0, 0).startswith("100 % fetched")
