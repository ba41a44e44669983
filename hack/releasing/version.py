"""The one version of everything that is released.

operator/pyproject.toml holds it. All other places repeat it, because their tools read no other file; they are
written by `make set-version NAME=…` and compared by a test.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from releasing.commands import ReleaseError, output, uv

SOURCE = Path("operator/pyproject.toml")
_OF_PROJECT = r'^version = "(.+)"$'
_OF_LABEL = r'org\.opencontainers\.image\.version="(.+?)"'
_OF_EXAMPLE = r"registry\.example\.com/disagg-worker:(\d[^`\s]*)"
_OF_FILE = r"disagg-(?:operator|worker)[-:](\d[\d.]*\d)"
_OF_LOCK = r'^name = "disagg-(?:operator|worker)"\nversion = "(.+)"$'
REPEATED = {
    "images/worker/pyproject.toml": _OF_PROJECT,
    "images/operator/Containerfile": _OF_LABEL,
    "images/worker/Containerfile": _OF_LABEL,
    "charts/disagg-operator/Chart.yaml": r'^(?:appVersion|version): "?([^"\n]+)"?$',
    "charts/disagg-operator/values.yaml": _OF_EXAMPLE,
    "charts/disagg-operator/README.md": _OF_EXAMPLE,
    "docs/air-gap.md": _OF_FILE,
    "uv.lock": _OF_LOCK,
}
"""The other places: a file, and where the version is in it."""
_WELL_FORMED = re.compile(r"\d+\.\d+\.\d+")


def current(root: Path) -> str:
    """Return the version of a checkout."""
    (found,) = _found(root, str(SOURCE), _OF_PROJECT)
    return found


def disagreements(root: Path) -> Iterator[str]:
    """Yield a sentence for each place of a checkout that has no version, or another one."""
    wanted = current(root)
    for file, pattern in REPEATED.items():
        found = _found(root, file, pattern)
        if not found:
            yield f"{file} names no version"
        yield from (f"{file} says {other}, {SOURCE} says {wanted}" for other in found if other != wanted)


def write(root: Path, new: str) -> None:
    """Write a version into all places of a checkout.

    Raises:
        ReleaseError: if it is none that Python, Helm and container registries all take.
    """
    if not _WELL_FORMED.fullmatch(new):
        raise ReleaseError(f"{new!r} is no version that wheels, charts and images share: write it as 1.2.3")
    for file, pattern in {str(SOURCE): _OF_PROJECT, **REPEATED}.items():
        path = root / file
        path.write_text(_replaced(path.read_text(encoding="utf-8"), pattern, new), encoding="utf-8")
    output([uv(), "lock", "--quiet"], root)


def _found(root: Path, file: str, pattern: str) -> list[str]:
    return re.findall(pattern, (root / file).read_text(encoding="utf-8"), re.MULTILINE)


def _replaced(text: str, pattern: str, new: str) -> str:
    def with_new(match: re.Match[str]) -> str:
        start, end = (place - match.start() for place in match.span(1))
        return f"{match[0][:start]}{new}{match[0][end:]}"

    return re.sub(pattern, with_new, text, flags=re.MULTILINE)
