"""A byte-level BPE tokenizer out of GGUF metadata."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from disagg_worker.errors import ConfigError
from disagg_worker.prepare.metadata import GgufMetadata

ROUND_TRIP = "Hello, world! 12345 it's 3.14 — naïve 你好\n\tdef f(x): return x<|im_end|>\n"


def build_tokenizer(metadata: GgufMetadata) -> Tokenizer:
    """Make the tokenizer that llama.cpp calls "smollm": single digits first, then byte-level words.

    Raises:
        ConfigError: The result does not give a text back as it was.
    """
    vocabulary = {token: number for number, token in enumerate(metadata.tokens)}
    merges = [tuple(merge.split(" ")) for merge in metadata.value("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [metadata.tokens[number] for number in metadata.control_ids]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    ids = tokenizer.encode(ROUND_TRIP, add_special_tokens=False).ids
    if tokenizer.decode(ids, skip_special_tokens=False) != ROUND_TRIP:
        raise ConfigError("the tokenizer made from this GGUF file does not round-trip; it cannot be used")
    return tokenizer
