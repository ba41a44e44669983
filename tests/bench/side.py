"""A process at one end of a measured transfer: it obeys its input, and answers each line with JSON."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any


class Side:
    """A running side.

    Args:
        command: Its command line.
        environment: Variables beside those of this process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer; NIXL's own lines in between are passed over."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        while answer := self._process.stdout.readline():
            if answer.startswith("{"):
                found: dict[str, Any] = json.loads(answer)
                return found
        raise RuntimeError(f"a side of the transfer ended with status {self._process.wait()}")

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
