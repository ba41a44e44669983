"""The TensorRT-LLM wheel that build.sh keeps, and whether it was built with NIXL.

build.sh takes a cached wheel without asking whether it has NIXL, so one without must go first. Whether it has
is read from the wheel itself, because anyone may have put it there. What we built is also recorded beside the
cache, in a stamp that counts only while it describes the very wheels that lie there.
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from source_images.errors import ImageError

# TensorRT-LLM's build_wheel.py packs this library only if the wheel was built with NIXL.
NIXL_LIBRARY = "libtensorrt_llm_nixl_wrapper.so"
# What build.sh and build_trtllm_wheel.sh put into the cache, beside wheels.
_OWN_ENTRIES = frozenset({"build", "commit.txt"})


class Nixl(Enum):
    """Whether the cached wheel was built with NIXL."""

    NO_WHEEL = "no wheel is cached"
    YES = f"the cached wheel holds {NIXL_LIBRARY}"
    NO = f"the cached wheel holds no {NIXL_LIBRARY}: it was built without NIXL"
    UNKNOWN = "the cached wheel cannot be read, so nobody knows whether it was built with NIXL"


@dataclass(frozen=True)
class Stamp:
    """What we built a wheel with.

    Args:
        era: The era that was asked for.
        flags: The options of build.sh.
        arch: The image's architecture.
        dynamo: The checkout, as git describes it.
        wheels: Name, size in bytes and modification time in ns of each wheel.
    """

    era: str
    flags: list[str]
    arch: str
    dynamo: str
    wheels: dict[str, list[int]]


@dataclass(frozen=True)
class WheelCache:
    """What the cache holds.

    Args:
        folder: Where it is.
        nixl: Whether its wheel was built with NIXL.
        commit: Architecture and TensorRT-LLM commit as build.sh noted them, such as `amd64_main`; else empty.
        stamp: What we built the wheel with, if we did.
        foreign: Entries that build.sh does not make. A folder with such is not ours to remove.
    """

    folder: Path
    nixl: Nixl
    commit: str = ""
    stamp: Stamp | None = None
    foreign: tuple[str, ...] = ()


def stamp_path(folder: Path) -> Path:
    """The file beside a cache that says what we built its wheel with."""
    return folder.with_name(f"{folder.name}.built-with.json")


def read_cache(folder: Path) -> WheelCache:
    """Look at a cache; it need not exist."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return WheelCache(folder, Nixl.UNKNOWN, foreign=(f"{folder} itself, which is no plain folder",))
    if not folder.is_dir():
        return WheelCache(folder, Nixl.NO_WHEEL)
    note = folder / "commit.txt"
    return WheelCache(
        folder=folder,
        nixl=_nixl(sorted(folder.rglob("*.whl"))),
        commit=note.read_text(encoding="utf-8").strip() if note.is_file() else "",
        stamp=_stamp(folder),
        foreign=tuple(sorted(entry.name for entry in folder.iterdir() if not _is_own(entry))),
    )


def write_stamp(folder: Path, *, era: str, flags: list[str], arch: str, dynamo: str) -> Path:
    """Record what the wheel in a cache was built with; returns the file.

    Raises:
        ImageError: If the wheel was built without NIXL after all.
    """
    nixl = read_cache(folder).nixl
    if nixl is not Nixl.YES:
        raise ImageError(
            f"{folder}: build.sh ended well, but {nixl.value}",
            remedy="look at the log for what became of NIXL; the image would move no KV cache through it",
        )
    path = stamp_path(folder)
    stamp = Stamp(era, flags, arch, dynamo, _wheels(folder))
    path.write_text(json.dumps(asdict(stamp), indent=1) + "\n", encoding="utf-8")
    return path


def _is_own(entry: Path) -> bool:
    wheel = entry.name.startswith("tensorrt_llm-") and entry.suffix == ".whl"
    return not entry.is_symlink() and (wheel or entry.name in _OWN_ENTRIES)


def _nixl(wheels: list[Path]) -> Nixl:
    """Whether all wheels have NIXL: build.sh takes the first that it finds."""
    if not wheels:
        return Nixl.NO_WHEEL
    try:
        held = [_holds_nixl(wheel) for wheel in wheels]
    except (BadZipFile, OSError):
        return Nixl.UNKNOWN
    return Nixl.YES if all(held) else Nixl.NO


def _holds_nixl(wheel: Path) -> bool:
    with ZipFile(wheel) as archive:
        return any(name.rpartition("/")[2] == NIXL_LIBRARY for name in archive.namelist())


def _wheels(folder: Path) -> dict[str, list[int]]:
    return {
        str(wheel.relative_to(folder)): [wheel.stat().st_size, wheel.stat().st_mtime_ns]
        for wheel in sorted(folder.rglob("*.whl"))
    }


def _stamp(folder: Path) -> Stamp | None:
    """The stamp, unless it is about other wheels than those that lie there now."""
    try:
        read: dict[str, Any] = json.loads(stamp_path(folder).read_text(encoding="utf-8"))
        stamp = Stamp(**read)
    except (OSError, ValueError, TypeError):
        return None
    return stamp if stamp.wheels == _wheels(folder) else None
