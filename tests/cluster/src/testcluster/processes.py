"""Processes that outlive the command which started them, and are ended by their identity only.

Invariants: a process is ours if its id, its start time and the machine's boot are the ones recorded;
an id that was given to another process since then is never touched. The command line is recorded before
the process starts, so that one whose starter was killed at that moment is found again by it, whole and exact.
"""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from testcluster.errors import ClusterError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Record:
    """What identifies a started process.

    Args:
        argv: The command line it was started with.
        boot: Boot id of the machine.
        pid: Process id; 0 until it is known.
        started: Start time in clock ticks since boot, as /proc/<pid>/stat has it.
    """

    argv: list[str]
    boot: str
    pid: int = 0
    started: int = 0


def start_ticks(stat: str) -> int | None:
    """Read the start time from the text of /proc/<pid>/stat; None for a zombie."""
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _ticks_of(pid: int) -> int | None:
    try:
        return start_ticks(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


class Supervisor:
    """Starts, finds again and ends processes; one pid file and one log each.

    Args:
        directory: Where the pid files lie.
        logs: Where the logs lie.
        bound: Whether the processes end with the thread that started them (for test sessions).
    """

    def __init__(self, directory: Path, logs: Path, *, bound: bool = False) -> None:
        self.directory = directory
        self.logs = logs
        self.bound = bound

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.logs / f"{name}.log"

    def record(self, name: str) -> Record | None:
        """What was recorded when the process was started."""
        try:
            return Record(**json.loads(self._file(name).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def alive(self, name: str) -> bool:
        """Whether the process that was started under this name still runs."""
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """The id of the process that was started under this name, if it still runs."""
        record = self.record(name)
        if record is None or record.boot != _boot():
            return None
        if record.pid == 0:
            return _with_command_line(record.argv)
        return record.pid if _ticks_of(record.pid) == record.started else None

    def names(self) -> list[str]:
        """The names of all processes that were started and not ended."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def ensure(self, name: str, argv: Sequence[str]) -> bool:
        """Have this command line running: leave it, replace one with other arguments, or start it.

        Returns:
            Whether it was started now.
        """
        record = self.record(name)
        if record is not None and self.alive(name) and record.argv == list(argv):
            return False
        self.stop(name)
        self._start(name, argv)
        return True

    def _start(self, name: str, argv: Sequence[str]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        real = ["setpriv", "--pdeathsig", "SIGKILL", "--", *argv] if self.bound else list(argv)
        self._write(name, Record(list(argv), _boot()))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawnp(
            real[0],
            real,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                # A lock that the caller holds for one command would be held for as long as the process lives.
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inherited()),
            ],
            setsid=True,
        )
        ticks = _ticks_of(pid)
        if ticks is None:
            raise ClusterError(f"{name} ended as soon as it was started", log=self.log(name))
        self._write(name, Record(list(argv), _boot(), pid, ticks))

    def stop(self, name: str, *, grace_seconds: float = 10.0) -> None:
        """End the process: ask, wait, then force. Harmless if it is gone already."""
        for number, wait in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            pid = self.pid(name)
            if pid is None or self._ends(name, pid, number, wait):
                break
        self._file(name).unlink(missing_ok=True)

    def _ends(self, name: str, pid: int, number: signal.Signals, seconds: float) -> bool:
        os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            _reap(pid)
            if not self.alive(name):
                return True
            time.sleep(0.05)
        return False

    def _write(self, name: str, record: Record) -> None:
        self._file(name).write_text(json.dumps(asdict(record)), encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.json"


def _inherited() -> list[int]:
    """The descriptors that were passed to this process and would be passed on, beside the standard ones."""
    found: list[int] = []
    for entry in Path("/proc/self/fd").iterdir():
        # The folder's own descriptor is listed, and closed by now.
        with suppress(OSError):
            if int(entry.name) > 2 and os.get_inheritable(int(entry.name)):
                found.append(int(entry.name))
    return found


def _with_command_line(argv: Sequence[str]) -> int | None:
    wanted = "\0".join(argv).encode() + b"\0"
    return next((pid for pid, line in command_lines() if line == wanted), None)


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Every process id with its command line, words ended by NUL."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes()


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _boot() -> str:
    return BOOT_ID.read_text(encoding="utf-8").strip()
