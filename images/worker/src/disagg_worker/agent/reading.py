"""Reading of files that others own: bounded, never waiting, and with a record of what could not be read.

Trees below /sys and /proc change while they are read and hold files that only their owner may see. So every
read ends at a limit, a pipe or a socket is never waited for, and a failure is a note, not an end.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from disagg_worker.agent.evidence import Unreadable

SMALL = 1 << 16
MOST_NOTES = 64


class Unread:
    """Collects what could not be read; equal notes once, and `MOST_NOTES` at most."""

    def __init__(self) -> None:
        self._notes: dict[Unreadable, None] = {}

    def add(self, what: str, why: OSError | str) -> None:
        """Note that something could not be read."""
        if len(self._notes) < MOST_NOTES:
            self._notes[Unreadable(what, why if isinstance(why, str) else reason(why))] = None

    def notes(self) -> tuple[Unreadable, ...]:
        """Return the notes in their order."""
        return tuple(self._notes)


def reason(error: OSError) -> str:
    """Tell an error in the system's words, such as "permission denied"."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading without waiting for anybody.

    Raises:
        OSError: It is not there, may not be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file")
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, limit: int = SMALL) -> str:
    """Read the beginning of a file, `limit` bytes at most; bytes that are no text become U+FFFD.

    Raises:
        OSError: As `open_regular`, or the read failed.
    """
    with open_regular(path) as file:
        return file.read(limit).decode(errors="replace")


def names(directory: Path, most: int = 4096) -> list[str]:
    """List a directory in order, `most` names at most.

    Raises:
        OSError: It is not there or may not be read.
    """
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry, _ in zip(entries, range(most), strict=False))
