"""Where the command line writes: colour and tables in a terminal, plain text in a pipe."""

import sys
from enum import StrEnum
from typing import NoReturn

import typer
from rich.console import Console

_PIPE_WIDTH = 200


class Format(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


class UserError(Exception):
    """Something that the user can mend. The message says what, line by line, without a stack trace."""


def output() -> Console:
    """Return a console on standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def errors() -> Console:
    """Return a console on standard error."""
    return Console(stderr=True)


def fail(error: UserError) -> NoReturn:
    """Print what went wrong and leave with exit code 1."""
    errors().print(str(error), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def warn(message: str) -> None:
    """Print something doubtful to standard error, and go on."""
    errors().print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True, style="yellow")
