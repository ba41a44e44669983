"""What goes on, line by line with its time; in a terminal, a spinner turns below the last line."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.text import Text

from disagg_operator.cli.terminal import printable


class Teller(Protocol):
    """Who shows what goes on."""

    def say(self, text: str, style: str = "") -> None:
        """Show a step."""
        ...

    def now(self, text: str) -> None:
        """Show what is waited for."""
        ...


class Steps(AbstractContextManager["Steps"]):
    """Prints steps as they come.

    Invariant: in a pipe each step is one line, and nothing but steps is written.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count the time.

        Args:
            console: where to print.
            clock: a time in seconds.
        """
        self._console, self._clock, self._began = console, clock, clock()
        self._status = console.status("") if console.is_terminal else None

    def __enter__(self) -> "Steps":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print what begins now, or was found.

        Args:
            text: a sentence without a line break.
            style: colour in a terminal.
        """
        elapsed = f"{self._clock() - self._began:7.1f} s"
        line = Text.assemble((elapsed, "dim"), "  ", (" ".join(printable(text).split()), style))
        self._console.print(line, soft_wrap=True)

    def now(self, text: str) -> None:
        """Show beside the spinner what is waited for; nothing in a pipe."""
        if self._status is not None:
            self._status.update(Text(printable(text), style="dim"))
