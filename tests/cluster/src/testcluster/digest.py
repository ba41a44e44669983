"""Content hashes: what is built once is found again by what it was built from."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

SKIPPED_DIRECTORIES = frozenset(
    {"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)


def text_digest(*parts: str) -> str:
    """Hash texts in their order; the boundaries between them count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


def source_files(root: Path, entries: Iterable[str]) -> list[str]:
    """List the files that the entries (files or folders, relative to root) hold, sorted, without caches.

    Raises:
        FileNotFoundError: If an entry does not exist.
    """
    found: set[str] = set()
    for entry in entries:
        path = root / entry
        if not path.exists():
            raise FileNotFoundError(entry)
        members = path.rglob("*") if path.is_dir() else [path]
        for member in members:
            relative = member.relative_to(root)
            if member.is_file() and not SKIPPED_DIRECTORIES & set(relative.parts) and member.suffix != ".pyc":
                found.add(relative.as_posix())
    return sorted(found)


def tree_digest(root: Path, files: Iterable[str], *extra: str) -> str:
    """Hash the names, executable bits and contents of files below root, and further texts."""
    parts: list[str] = [*extra]
    for name in files:
        path = root / name
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        parts += [name, executable, hashlib.sha256(path.read_bytes()).hexdigest()]
    return text_digest(*parts)
