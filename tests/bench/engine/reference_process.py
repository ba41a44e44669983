"""llama.cpp in a process of its own: reads one JSON command a line from stdin, answers one a line on stdout.

It runs in the environment of the dependency group `reference`, so it imports nothing of this repository.
"""

import json
import os
import sys
import time
from typing import Any

import llama_cpp
import numpy as np

FLOAT32 = 0  # ggml's number of the type
NEXT_TOKEN = 100


class Reference:
    """One llama.cpp context with a float32 KV cache."""

    def __init__(self, path: str, threads: int, context: int, all_logits: bool) -> None:
        self._llama = llama_cpp.Llama(
            path,
            n_ctx=context,
            n_batch=512,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=all_logits,
            type_k=FLOAT32,
            type_v=FLOAT32,
            flash_attn=False,
            verbose=False,
        )

    def logits(self, tokens: list[int], out: str) -> int:
        """Write the logits at every position to a .npy file."""
        self._llama.reset()
        self._llama.eval(tokens)
        np.save(out, self._llama.scores[: len(tokens)])
        return len(tokens)

    def tokenize(self, text: str) -> list[int]:
        """Split a text into token ids."""
        tokens: list[int] = self._llama.tokenize(text.encode(), add_bos=False, special=True)
        return tokens

    def prefill(self, tokens: list[int]) -> float:
        """Compute a prompt; returns seconds."""
        self._llama.reset()
        begin = time.perf_counter()
        self._llama.eval(tokens)
        return time.perf_counter() - begin

    def decode(self, count: int) -> list[float]:
        """Compute single tokens after what is there; returns the seconds of each."""
        seconds = []
        for token in range(NEXT_TOKEN, NEXT_TOKEN + count):
            begin = time.perf_counter()
            self._llama.eval([token])
            seconds.append(time.perf_counter() - begin)
        return seconds


def main() -> None:
    """Answer commands until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the library prints must not get between the answers
    options: dict[str, Any] = json.loads(sys.argv[1])
    reference = Reference(**options)
    answers.write(json.dumps("ready") + "\n")
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(getattr(reference, name)(**arguments)) + "\n")


if __name__ == "__main__":
    main()
