"""What moving a prompt's KV cache costs, and the buffer that it takes. Pure."""

import math


def seconds(kv_bytes: float, rate: float, streams: int = 1) -> float:
    """Return how long a prompt's cache is under way.

    Args:
        kv_bytes: its bytes.
        rate: of one stream, in bytes a second.
        streams: GPUs of each side that move it at the same time.
    """
    return kv_bytes / (rate * streams)


def buffer_tokens(longest: int, margin: int, block: int) -> int:
    """Return ``max_tokens_in_buffer``: the longest request and a margin, in whole blocks.

    TensorRT-LLM asks for the longest prompt at least, and refuses what is no multiple of its block.
    """
    return math.ceil((longest + margin) / block) * block
