"""Where the command line writes: colour and tables in a terminal, plain text in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_ONE_LINE = 100_000
"""Columns, so many that no line is ever folded: programs read a row as a line."""


class Format(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


class Form(StrEnum):
    """How results are printed that may be read as whole documents."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class UserError(Exception):
    """Something that the user can mend. The message says what, line by line, without a stack trace."""


def show(
    headings: Sequence[str], rows: Iterable[Sequence[str | Text]], title: str = "", *, to_errors: bool = False
) -> None:
    """Print a table: with frames in a terminal, a line for each row in a pipe.

    Args:
        headings: heading of each column.
        rows: cells of each row; a cell may have several lines.
        title: what stands above it.
        to_errors: whether it goes to standard error, not to standard output.
    """
    in_terminal = (sys.stderr if to_errors else sys.stdout).isatty()
    if title:
        Console(stderr=to_errors).print(Text(title, style="bold"), soft_wrap=True)
    console = Console(width=None if in_terminal else _ONE_LINE, stderr=to_errors)
    console.print(table(headings, rows, in_terminal=in_terminal))


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, in_terminal: bool) -> Table:
    """Return a table: with frames for a terminal, a line for each row for a pipe.

    Args:
        headings: heading of each column.
        rows: cells of each row; a cell may have several lines.
        in_terminal: whether it is for a terminal.
    """
    made = Table(box=Table().box if in_terminal else None, show_lines=in_terminal, pad_edge=in_terminal)
    for heading in headings:
        made.add_column(heading, overflow="fold", no_wrap=not in_terminal)
    for row in rows:
        cells = [cell if isinstance(cell, Text) else Text(cell) for cell in row]
        made.add_row(*(cells if in_terminal else map(_on_one_line, cells)))
    return made


def _on_one_line(cell: Text) -> Text:
    return Text(" ".join(cell.plain.splitlines()))


def errors() -> Console:
    """Return a console on standard error."""
    return Console(stderr=True)


def fail(error: UserError, code: int = 1) -> NoReturn:
    """Print what went wrong and leave with an exit code."""
    errors().print(str(error), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def warn(message: str) -> None:
    """Print something doubtful to standard error, and go on."""
    errors().print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True, style="yellow")
