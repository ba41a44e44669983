"""Prefixes of prompts, named by what is in them, so that blocks that hold one can be found again. Pure.

A block's key says its tokens and all before it. Whole units of computation are reused only: the model cuts
a prompt at multiples of its chunk, and only what was computed in the same cut has the same numbers, bit for
bit.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Key = bytes
_KEY_BYTES = 16
_NUMBER_BYTES = 8


@dataclass(frozen=True)
class Prefix:
    """The part of a prompt whose blocks may be shared with other requests.

    Attributes:
        tokens: Token ids, whole blocks of them.
        keys: One of each block, in order.
        unit_blocks: Blocks that are reused all or none.
    """

    tokens: tuple[int, ...] = ()
    keys: tuple[Key, ...] = ()
    unit_blocks: int = 1

    def whole_blocks(self, blocks: int) -> int:
        """Return how many of the first `blocks` blocks are in whole units of this prefix."""
        within = min(blocks, len(self.keys))
        return within - within % self.unit_blocks


NO_PREFIX = Prefix()


@dataclass(frozen=True)
class Stored:
    """Blocks that other requests find from now on.

    Attributes:
        tokens: Their token ids.
        keys: Of each block, in order.
        parent: Key of the block before the first; None at the beginning of a prompt.
    """

    tokens: tuple[int, ...]
    keys: tuple[Key, ...]
    parent: Key | None


@dataclass(frozen=True)
class Removed:
    """Blocks that nobody finds any more.

    Attributes:
        keys: Of each block.
    """

    keys: tuple[Key, ...]


KVEvent = Stored | Removed


def prefix_of(prompt: Sequence[int], block_tokens: int, chunk_tokens: int) -> Prefix:
    """Name the part of a prompt that can be shared; at least one token is always left to compute.

    Args:
        prompt: Token ids.
        block_tokens: Tokens of a block.
        chunk_tokens: Tokens that are computed in one step.
    """
    unit = math.lcm(block_tokens, chunk_tokens)
    length = max(0, len(prompt) - 1) // unit * unit
    tokens = tuple(prompt[:length])
    keys: list[Key] = []
    parent = b""
    for start in range(0, length, block_tokens):
        content = np.asarray(tokens[start : start + block_tokens], dtype=np.int64).tobytes()
        parent = hashlib.blake2b(parent + content, digest_size=_KEY_BYTES).digest()
        keys.append(parent)
    return Prefix(tokens, tuple(keys), unit // block_tokens)


def number(key: Key) -> int:
    """Return a key as the signed 64-bit number by which Dynamo's router knows a block."""
    return int.from_bytes(key[:_NUMBER_BYTES], "big", signed=True)
