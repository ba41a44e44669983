"""Checkouts that a release is made from, and the command that makes it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
URL = "https://github.com/example/disagg-operator"
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", ".hypothesis")
_OUTPUTS = {"build", "dist", ".tools"}


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git in a folder and return what it printed."""
    argv = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-C", folder, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout


def _not_copied(folder: str, names: list[str]) -> set[str]:
    outputs = _OUTPUTS if Path(folder) == ROOT else set()
    return set(_NOT_COPIED(folder, names)) | outputs


def committed_copy(folder: Path) -> Path:
    """Copy this project into a folder and commit it there; this one may have changes, or be no checkout."""
    shutil.copytree(ROOT, folder, ignore=_not_copied)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A release", "--no-verify")
    return folder


def release(
    checkout: Path, folder: Path, *arguments: str, umask: int = 0o022, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command on a checkout, for one platform, without Docker.

    Args:
        checkout: what it is made from.
        folder: where it goes.
        arguments: further ones.
        umask: of the process.
        variables: further ones.
    """
    argv: list[str | Path] = [sys.executable, "-m", "releasing", "--root", checkout, "--out", folder]
    environment = {
        "PYTHONPATH": str(checkout / "hack"),
        "REPOSITORY_URL": URL,
        "DOCKER_HOST": "unix:///nobody",
    }
    return subprocess.run(
        [*argv, "--platforms", "linux-amd64", *arguments],
        env={**os.environ, **environment, **variables},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
