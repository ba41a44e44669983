"""The wheels of the operator, which holds kubectl-disagg too, and of the worker."""

from pathlib import Path

from releasing.commands import output, uv
from releasing.source import Source

PACKAGES = ("disagg-operator", "disagg-worker")


def build_wheels(source: Source, folder: Path) -> list[Path]:
    """Build the wheels into a folder and return their paths."""
    for package in PACKAGES:
        argv: list[str | Path] = [
            uv(),
            "build",
            "--quiet",
            "--wheel",
            "--package",
            package,
            "--out-dir",
            folder,
        ]
        output(argv, source.root, source.environment)
    # uv marks a folder of builds as none of git's business.
    (folder / ".gitignore").unlink(missing_ok=True)
    return sorted(folder.glob("*.whl"))
