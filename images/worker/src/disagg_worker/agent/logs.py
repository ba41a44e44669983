"""Lines about transports in the log files that engine processes hold open for writing.

Found through /proc/<pid>/fd: whatever the file is called (UCX_LOG_FILE takes any name) and wherever it lies
in the engine's container. What an engine writes to its container's log is a pipe here, which only the kubelet
reads: those lines come from the operator.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from disagg_worker.agent.evidence import Log
from disagg_worker.agent.processes import Running
from disagg_worker.agent.reading import Unread, names, open_regular

MOST_LINES = 40
MOST_FILES = 8
WIDEST = 400
# The first part holds what a library says when it starts and connects, the last what it said since.
_PART = 256 << 10
_WRITABLE = 0o200
_STANDARD = {"1", "2"}

_TITLE = re.compile(r"\bcfg#\d+\s*\|\s*$")
_KV_TABLE = re.compile(r"\|\s*(?:remote memory (?:read|write) by|rendezvous) ")
_ROW = re.compile(r"\|.*\|.*\|\s*$")
_LANE = r"\b(?:srd|ud|dc|rc|tcp|cuda|gdr|cma|knem|xpmem|posix|sysv)\w*/[\w.:\-]+"
_EVIDENCE = re.compile(
    "|".join(
        (
            _LANE,
            r"NIXL|nixl_\w+\.cpp|Backend \w+ was instantiated|libplugin_",
            r"\b(?:libfabric|fi_\w+|efa)\b.*(?:provider|error|fail|Unable)",
            r"UCX (?:ERROR|WARN)|software emulation|sw-emul",
        )
    ),
    re.IGNORECASE,
)


def read_logs(engine: Iterable[Running], unread: Unread) -> tuple[Log, ...]:
    """Read the evidence in the log files of the engine's processes, `MOST_FILES` at most.

    Args:
        engine: The engine's processes.
        unread: Gets notes of files and processes that may not be read.
    """
    found: dict[str, Log] = {}
    for process in engine:
        for path, descriptor in _open_logs(process, unread):
            if path in found or len(found) == MOST_FILES:
                continue
            try:
                text = _ends(descriptor)
            except OSError as error:
                unread.add(f"log {path} of {process}", error)
                continue
            lines = tuple(evidence_lines(text))
            if lines:
                found[path] = Log(path, lines)
    return tuple(found.values())


def evidence_lines(text: str) -> list[str]:
    """Return the lines that speak of a transport, the newest `MOST_LINES`, each at most `WIDEST` wide.

    Of tables of UCX those of remote memory and rendezvous, which carry KV cache, are kept with their titles.
    """
    found: dict[str, None] = {}
    title, wanted = "", False
    for line in (line.strip()[:WIDEST] for line in text.splitlines()):
        if _TITLE.search(line):
            title, wanted = line, False
        elif _KV_TABLE.search(line):
            found.update(dict.fromkeys((title, line)))
            wanted = True
        elif _EVIDENCE.search(line) and (wanted or not _ROW.search(line)):
            found[line] = None
    return [line for line in found if line][-MOST_LINES:]


def _open_logs(process: Running, unread: Unread) -> Iterator[tuple[str, Path]]:
    """Find regular files named *.log, or behind standard output and error, that a process may write to."""
    directory = process.directory / "fd"
    try:
        descriptors = names(directory)
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended since
    except OSError as error:
        unread.add(f"open files of {process}", error)
        return
    for name in descriptors:
        descriptor = directory / name
        try:
            target = str(descriptor.readlink())
            writable = os.lstat(descriptor).st_mode & _WRITABLE
        except OSError:
            continue  # closed since
        is_log = target.endswith(".log") or name in _STANDARD
        if writable and is_log and target.startswith("/") and not target.startswith("/dev/"):
            yield target, descriptor


def _ends(path: Path) -> str:
    with open_regular(path) as file:
        first = file.read(_PART)
        size = os.fstat(file.fileno()).st_size
        if size > 2 * _PART:
            file.seek(size - _PART)
        return (first + file.read(_PART)).decode(errors="replace")
