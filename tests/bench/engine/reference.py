"""The independent implementation: llama.cpp on the same float32 weights, in its own environment and process.

The environment is made from the locked dependency group `reference`. Compiling llama.cpp takes minutes the
first time; afterwards uv has the wheel in its cache.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.engine.weights import cache_directory, float32_gguf

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("reference_process.py")


class ReferenceError(RuntimeError):
    """llama.cpp could not be installed or did not answer."""


def reference_python() -> Path:
    """Install the dependency group `reference` if needed, and return its interpreter."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise ReferenceError("uv is not on the PATH; start this with `make`, or `uv run`")
    environment = cache_directory() / "reference-venv"
    settings = {
        **os.environ,
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0))),
    }
    command = [uv, "sync", "--locked", "--only-group", "reference", "--quiet"]
    print("installing llama.cpp (compiled the first time: some minutes)", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReferenceError(
            "llama.cpp could not be installed; it needs a C and a C++ compiler "
            f"(Debian: apt-get install build-essential). uv said:\n{done.stderr[-2000:]}"
        )
    return environment / "bin" / "python"


class Reference:
    """A llama.cpp process; use it as a context manager.

    Args:
        threads: Threads that llama.cpp computes with.
        context: Longest sequence in tokens.
        all_logits: Keep the logits of every position (slower), for `logits`.
    """

    def __init__(self, threads: int, context: int = 4096, all_logits: bool = False) -> None:
        options = {
            "path": str(float32_gguf()),
            "threads": threads,
            "context": context,
            "all_logits": all_logits,
        }
        self._process = subprocess.Popen(
            [str(reference_python()), str(SCRIPT), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits `[len(tokens), vocab]` at every position."""
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory) / "logits.npy"
            self._ask("logits", tokens=list(tokens), out=str(out))
            logits: NDArray[np.float32] = np.load(out)
        return logits

    def tokenize(self, text: str) -> list[int]:
        """Split a text into token ids."""
        tokens: list[int] = self._ask("tokenize", text=text)
        return tokens

    def prefill(self, tokens: Sequence[int]) -> float:
        """Compute a prompt from an empty cache; returns seconds."""
        return float(self._ask("prefill", tokens=list(tokens)))

    def decode(self, count: int) -> list[float]:
        """Compute `count` single tokens after the prompt; returns the seconds of each."""
        seconds: list[float] = self._ask("decode", count=count)
        return seconds

    def _ask(self, name: str, **arguments: Any) -> Any:
        if self._process.stdin is None:
            raise ReferenceError("llama.cpp has no input")
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise ReferenceError(f"llama.cpp ended with status {self._process.wait()}")
        return json.loads(line)
