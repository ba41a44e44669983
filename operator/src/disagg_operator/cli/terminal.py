"""Where the command line writes: colour and tables in a terminal, plain text in a pipe.

Invariant: no text of a cluster, a model or a program makes a terminal do anything but print.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_CONTROL = re.compile(
    r"""
    (?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)  # operating system commands, such as the clipboard's
    | (?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]  # control sequences: colours, cursor, modes
    | \x1b[ -/]*[0-~]  # other escape sequences, such as a reset
    | [\x00-\x08\x0b-\x1f\x7f-\x9f]  # what is left of C0, DEL and C1
    """,
    re.VERBOSE,
)
"""Control functions of ECMA-48 and ECMA-35, but line feed and tabulator."""
_NOTHING = "-"
"""What stands for an empty cell where programs read."""


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


def printable(text: str) -> str:
    """Return a text without what a terminal would obey: escape sequences and other control characters.

    Line feeds and tabulators stay.
    """
    return _CONTROL.sub("", text)


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
        Console(stderr=to_errors).print(Text(printable(title), style="bold"), soft_wrap=True)
    if in_terminal:
        Console(stderr=to_errors).print(table(headings, rows))
        return
    for line in plain_lines(headings, rows):
        typer.echo(line, err=to_errors)


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table with frames, for a terminal.

    Args:
        headings: heading of each column.
        rows: cells of each row; a cell may have several lines.
    """
    made = Table(show_lines=True)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def plain_lines(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Iterator[str]:
    """Yield the lines of a table for programs: one a row, columns under each other.

    Two spaces or more end a cell and nothing else does, so that ``awk -F '  +'`` finds each column: a cell
    has single spaces only, and one that is empty is a dash. No line ends in spaces.

    Args:
        headings: heading of each column.
        rows: cells of each row; the lines of a cell are joined.
    """
    cells = [[" ".join(_cell(cell).plain.split()) or _NOTHING for cell in row] for row in rows]
    lines = [list(headings), *cells]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def dense(headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table for a terminal without frames and lines between rows; see `table`."""
    made = table(headings, rows)
    made.box, made.show_lines, made.show_edge, made.pad_edge = SIMPLE_HEAD, False, False, False
    return made


class Fitting:
    """As many lines of its parts as a terminal has; the last says how many more there are."""

    def __init__(self, *parts: RenderableType) -> None:
        self._parts = Group(*parts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines; see `rich.console.ConsoleRenderable`."""
        lines, room = console.render_lines(self._parts, options, pad=False), console.height
        if len(lines) > room:
            left = len(lines) - room + 1
            said = Text(f"… {left} more lines: enlarge the terminal, or leave out --watch", style="dim")
            lines = [*lines[: room - 1], *console.render_lines(said, options.update(height=1), pad=False)[:1]]
        for line in lines:
            yield from line
            yield Segment.line()


def _cell(content: str | Text) -> Text:
    if isinstance(content, str):
        return Text(printable(content))
    plain = printable(content.plain)
    return content if plain == content.plain else Text(plain, style=content.style)


def errors() -> Console:
    """Return a console on standard error."""
    return Console(stderr=True)


def fail(error: UserError, code: int = 1) -> NoReturn:
    """Print what went wrong and leave with an exit code."""
    errors().print(printable(str(error)), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def warn(message: str) -> None:
    """Print something doubtful to standard error, and go on."""
    text = f"warning: {printable(message)}"
    errors().print(text, markup=False, highlight=False, soft_wrap=True, style="yellow")
