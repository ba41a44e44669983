"""Tells how far a download is: a line of the log every ten seconds, which the operator reads."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 10.0
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def say(text: str) -> None:
    """Write a line into the log, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def size(number: float) -> str:
    """Write bytes for people, such as ``1.2 GB`` (10^9 bytes)."""
    for least, unit in _UNITS:
        if number >= least:
            return f"{number / least:.1f} {unit}"
    return f"{number:.0f} B"


def line(arrived: int, total: int, rate: float) -> str:
    """Return how far a download is.

    Args:
        arrived: Bytes that have arrived.
        total: Bytes in all.
        rate: Bytes a second of late.
    """
    share = 100 if total == 0 else min(100, arrived * 100 // total)
    return f"{share} % fetched: {size(min(arrived, total))} of {size(total)}, {size(rate)}/s"


@contextmanager
def told(arrived: Callable[[], int], total: int, seconds: float = SECONDS) -> Iterator[None]:
    """Say every few seconds how far a download is, as long as this is open.

    Args:
        arrived: Counts the bytes that have arrived.
        total: Bytes in all.
        seconds: Time between two lines.
    """
    ended = threading.Event()

    def watch() -> None:
        before, since = arrived(), time.monotonic()
        say(line(before, total, 0))
        while not ended.wait(seconds):
            count, now = arrived(), time.monotonic()
            say(line(count, total, max(0, count - before) / (now - since)))
            before, since = count, now

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
