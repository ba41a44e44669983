"""Runs a worker, and ends it once its log says that it cannot move KV cache until it is started anew.

Such a worker answers health checks and fails every request. It is asked to end, so that answers which are
being written are finished, and killed when it does not. What it said becomes the container's termination
message. Its output is passed on as it comes, byte for byte. It runs in the engine's image: Python 3 and no
package.

Usage: watch_output.py SECONDS PATTERN [PATTERN ...] -- COMMAND [ARGUMENT ...]
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

WEDGED = 86
"""Exit code of a worker that was ended for what it said."""
TERMINATION_MESSAGE = Path("/dev/termination-log")
MESSAGE = "KV transfer is broken until this worker is started anew; its log says: "
_CHUNK = 1 << 16
_LONGEST = 1 << 12
_REST_SECONDS = 2.0


class Lines:
    """Cuts a stream of bytes into lines; of a long one its first 4 KiB."""

    def __init__(self) -> None:
        self._open = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Return the lines that end in the next piece of the stream."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            yield (self._open + line)[:_LONGEST].decode(errors="replace").strip()
            self._open = b""
        self._open = (self._open + rest)[:_LONGEST]


def broken(line: str, patterns: Sequence[re.Pattern[str]]) -> bool:
    """Tell whether a line says that the worker is broken until it is started anew."""
    return any(pattern.search(line) for pattern in patterns)


class Watched:
    """The worker.

    Args:
        command: argument vector.
        patterns: of lines that it is ended for.
        seconds: time that it gets to end by itself.
    """

    def __init__(self, command: Sequence[str], patterns: Sequence[str], seconds: float) -> None:
        self._patterns, self._seconds = [re.compile(each) for each in patterns], seconds
        self._said = ""
        self._process = subprocess.Popen(  # noqa: S603 - the plan's own command
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        pipes = ((self._process.stdout, 1), (self._process.stderr, 2))
        self._threads = [
            threading.Thread(target=self._pass_on, args=(pipe.fileno(), out), daemon=True)
            for pipe, out in pipes
            if pipe is not None
        ]

    def run(self) -> int:
        """Wait for its end, and return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._forward)
        for thread in self._threads:
            thread.start()
        code = self._process.wait()
        for thread in self._threads:
            # What it started and left behind may hold the pipe for ever.
            thread.join(_REST_SECONDS)
        if self._said:
            return WEDGED
        return code if code >= 0 else 128 - code

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._process.send_signal(number)

    def _pass_on(self, pipe: int, out: int) -> None:
        lines = Lines()
        while data := os.read(pipe, _CHUNK):
            with contextlib.suppress(OSError):  # nobody reads any more: the worker goes on
                _write(out, data)
            for line in lines.feed(data):
                if not self._said and broken(line, self._patterns):
                    self._said = line
                    threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        message = f"{MESSAGE}{self._said[:300]}"
        print(f"watch_output: {message}", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            TERMINATION_MESSAGE.write_text(message, encoding="utf-8")
        self._process.terminate()
        try:
            self._process.wait(self._seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _write(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


def main(arguments: Sequence[str]) -> int:
    """Run the worker, and return the exit code."""
    end = arguments.index("--")
    return Watched(arguments[end + 1 :], arguments[1:end], float(arguments[0])).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
