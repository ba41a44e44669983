"""Which transport libraries the engine's processes have mapped, from /proc/<pid>/maps.

The pod's containers share their process namespace, so these are all processes of the pod. The agent itself
and the pod's pause process are left out: neither is an engine, and the latter belongs to another user.
"""

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from disagg_worker.agent.evidence import Library, LibraryKind, Process
from disagg_worker.agent.reading import Unread, names, open_regular, read_text

_MOST_LINES = 1 << 18
# Address, permissions, offset, device, inode, and a path that may hold blanks (proc_pid_maps(5)).
_MAPPED = re.compile(rb"(?:\S+\s+){5}(/.*\.so.*)")
# Wheels put a hash into the name: libucp-b39b3ed9.so.0.0.0.
_STEMS: dict[LibraryKind, str] = {
    "nixl-plugin": "plugin_[A-Z0-9_]+",
    "nixl": "nixl",
    "ucx-transport": r"uct_\w+",
    "ucx": "ucp|uct|ucs|ucm",
    "libfabric": "fabric",
    "efa": r"efa(?:-rdmav\d+)?",
    "cuda": "cuda|cudart",
    "mpi": "mpi",
}
_KINDS = {kind: re.compile(rf"lib(?:{stem})(?:-[0-9a-f]+)?\.so(?:\.|$)") for kind, stem in _STEMS.items()}


@dataclass(frozen=True, slots=True)
class Running:
    """A process of the pod.

    Attributes:
        directory: Its directory in /proc.
    """

    pid: int
    name: str
    directory: Path

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name})"


def running(proc: Path, unread: Unread) -> list[Running]:
    """List the pod's processes but for the agent's own and the pause process."""
    try:
        pids = sorted(int(name) for name in names(proc) if name.isdigit())
    except OSError as error:
        unread.add("processes", error)
        return []
    found = []
    for pid in pids:
        directory = proc / str(pid)
        try:
            name = read_text(directory / "comm").strip()
        except OSError:
            continue  # it has ended since
        if pid != os.getpid() and not (pid == 1 and name == "pause"):
            found.append(Running(pid, name, directory))
    return found


def with_libraries(candidates: list[Running], unread: Unread) -> list[tuple[Running, Process]]:
    """Find the processes that have mapped a transport library: the engine's.

    Args:
        candidates: Processes to look at.
        unread: Gets a note for each process whose maps may not be read.
    """
    found = []
    for each in candidates:
        try:
            libraries = tuple(_libraries(each.directory / "maps"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        except OSError as error:
            unread.add(f"maps of {each}", error)
            continue
        if libraries:
            found.append((each, Process(each.pid, each.name, libraries)))
    return found


def kind_of(path: str) -> LibraryKind | None:
    """Tell the kind of a library by its file name; None for one of no interest."""
    name = path.rsplit("/", 1)[-1]
    return next((kind for kind, pattern in _KINDS.items() if pattern.match(name)), None)


def _libraries(maps: Path) -> Iterator[Library]:
    with open_regular(maps) as file:
        lines = itertools.islice(file, _MOST_LINES)
        paths = {found[1] for line in lines if (found := _MAPPED.match(line))}
    for path in sorted(path.decode(errors="replace") for path in paths):
        if kind := kind_of(path):
            yield Library(kind, path)
