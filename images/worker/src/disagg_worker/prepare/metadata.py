"""The metadata of a GGUF file, checked to be of the one kind that can be prepared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gguf import GGUFReader, TokenType

from disagg_worker.errors import ConfigError

REQUIRED = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}


@dataclass(frozen=True)
class GgufMetadata:
    """What a GGUF file says about its model.

    Attributes:
        values: Metadata by key.
        tokens: The vocabulary; a token's id is its index.
        control_ids: Ids of tokens that structure a text and are never part of it.
        tensors: Names of the weights.
    """

    values: dict[str, Any]
    tokens: tuple[str, ...]
    control_ids: tuple[int, ...]
    tensors: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file's metadata.

        Raises:
            ConfigError: The file cannot be read, or is no Llama with a SmolLM tokenizer.
        """
        try:
            reader = GGUFReader(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: is not a readable GGUF file: {error}") from None
        values = {key: field.contents() for key, field in reader.fields.items()}
        for key, expected in REQUIRED.items():
            if values.get(key) != expected:
                raise ConfigError(f"{path}: {key} is {values.get(key)!r}; only {expected!r} can be prepared")
        types = values["tokenizer.ggml.token_type"]
        control = tuple(number for number, kind in enumerate(types) if kind == TokenType.CONTROL)
        names = frozenset(tensor.name for tensor in reader.tensors)
        return cls(values, tuple(values["tokenizer.ggml.tokens"]), control, names)

    def value(self, key: str) -> Any:
        """Get a value.

        Raises:
            ConfigError: The file does not have it.
        """
        if key not in self.values:
            raise ConfigError(f"the GGUF file lacks {key}")
        return self.values[key]

    def token(self, role: str) -> str:
        """Get the token of a role: bos, eos, padding or unknown."""
        return self.tokens[int(self.value(f"tokenizer.ggml.{role}_token_id"))]
