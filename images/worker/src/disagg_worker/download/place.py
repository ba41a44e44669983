"""The directory of a model: locked while somebody fetches it, and there only once it is whole.

Invariants: what is not whole has another name; the lock ends with its process, however that ends.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disagg_worker.download.errors import DownloadError, Reason

MARKER = ".disagg-model.json"
"""File in the directory that tells what it holds."""
_LIBRARY = ".cache"
"""Where the hub's library keeps what it needs to go on; of no use once the model is whole."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class Place:
    """Where a model goes.

    Attributes:
        directory: Its directory, once it is whole.
    """

    directory: Path

    @property
    def partial(self) -> Path:
        """Directory in which its files arrive."""
        return self.directory.with_name(f".{self.directory.name}.partial")

    @contextmanager
    def locked(self, waits: Callable[[], None]) -> Iterator[None]:
        """Hold the lock of the directory, among all processes of its node.

        Args:
            waits: Called once if somebody else holds it.
        """
        path = self.directory.with_name(f".{self.directory.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                # A volume without locks, as some network file systems are: its one Job is alone anyway.
                if error.errno not in _NO_LOCKS:
                    raise
            yield

    def held(self) -> Mapping[str, Any] | None:
        """Tell what the directory holds, or None where it is not there."""
        try:
            found = json.loads((self.directory / MARKER).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def begin(self) -> None:
        """Make the directory in which files arrive, and clear what a process left there that was killed."""
        self.partial.mkdir(parents=True, exist_ok=True)
        for left in self.partial.rglob("*.incomplete"):
            left.unlink(missing_ok=True)

    def arrived(self) -> int:
        """Count the bytes that have arrived."""
        total = 0
        for folder, _, names in os.walk(self.partial):
            for name in names:
                try:
                    total += (Path(folder) / name).stat().st_size
                except OSError:  # moved to its place in the meantime
                    continue
        return total

    def free(self) -> int:
        """Count the bytes that may be written."""
        return shutil.disk_usage(self.partial).free

    def finish(self, holds: Mapping[str, Any]) -> None:
        """Give the directory its name, for it is whole.

        Args:
            holds: What it holds.
        """
        shutil.rmtree(self.partial / _LIBRARY, ignore_errors=True)
        (self.partial / MARKER).write_text(json.dumps(holds, indent=2) + "\n", encoding="utf-8")
        if self.directory.exists():  # without a marker: no download of ours left it so
            says = f"{self.directory} is there and was not made by a download. Move it away."
            raise DownloadError(Reason.NOT_WRITABLE, says)
        self.partial.rename(self.directory)


def disk_fault(error: BaseException, folder: Path) -> DownloadError | None:
    """Return what an error says of the volume, or None where it says nothing of it.

    Args:
        error: What was raised.
        folder: Where it was written.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        says = f"The volume of {folder} is full. Free space on it or make it larger; what arrived is kept."
        return DownloadError(Reason.NO_SPACE, says)
    if number in _FORBIDDEN:
        says = (
            f"{folder} cannot be written to as user {os.getuid()}, group {os.getgid()} ({error}). Give that "
            "user the directory, or choose a volume whose driver honours fsGroup."
        )
        return DownloadError(Reason.NOT_WRITABLE, says)
    return None
