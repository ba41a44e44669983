"""Runs the programs that a release is made with."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ReleaseError(Exception):
    """A release cannot be made; the text says what is wrong and what to do."""


def output(argv: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return its standard output.

    Args:
        argv: program and arguments.
        folder: where it runs.
        environment: variables beside those of this process.

    Raises:
        ReleaseError: if it fails; the text is what it said.
    """
    command = [str(word) for word in argv]
    ended = subprocess.run(  # noqa: S603 - programs and arguments are this package's own
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise ReleaseError(f"{' '.join(command[:4])} … failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def uv() -> str:
    """Return the uv program, which make names.

    Raises:
        ReleaseError: if it does not.
    """
    try:
        return os.environ["UV"]
    except KeyError:
        raise ReleaseError("UV is not set. Run `make release`, which sets it") from None
