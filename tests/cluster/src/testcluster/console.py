"""Progress for people: every step with its time, moving on a terminal, plain lines in a pipe."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

import typer
from rich.console import Console
from rich.markup import escape

from testcluster.errors import ClusterError

# In a pipe: when a step is first named, so that quick ones take one line, and how often after that.
NAMED_AFTER_SECONDS = 2.0
STILL_RUNNING_EVERY_SECONDS = 20.0
# The spinner and the space after it.
SPINNER_COLUMNS = 2


def duration(seconds: float) -> str:
    """A time in seconds as people say it: `2.4 s`, `75 s`, `12 min 34 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Step:
    """A running step; `detail` is what it is doing right now."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.result = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the step began, in seconds."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """The step as it is shown while it runs: what, for how long, and what of it just now."""
        detail = f" · {self.detail}" if self.detail else ""
        return f"{self.title} ({duration(self.seconds)}){detail}"


class Progress:
    """Shows steps one after another on standard error, which leaves standard output to results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Run a block as a step; prints how long it took, or that it failed."""
        step = Step(title)
        finished = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(step, finished), daemon=True)
        ticker.start()
        mark, colour = "✗", "red"
        try:
            yield step
            mark, colour = "✓", "green"
        finally:
            finished.set()
            ticker.join()
            result = f" · {step.result}" if step.result else ""
            self.console.print(
                f"[{colour}]{mark}[/] {escape(title + result)} [dim]({duration(step.seconds)})[/]"
            )

    def note(self, text: str) -> None:
        """Print a line that belongs to no step."""
        self.console.print(escape(text))

    def _tick(self, step: Step, finished: threading.Event) -> None:
        if self.console.is_terminal:
            with self.console.status(self._shortened(step.line())) as status:
                while not finished.wait(0.25):
                    status.update(self._shortened(step.line()))
            return
        for seconds in chain([NAMED_AFTER_SECONDS], repeat(STILL_RUNNING_EVERY_SECONDS)):
            if finished.wait(seconds):
                return
            self.console.print(f"… {escape(step.line())}")

    def _shortened(self, line: str) -> str:
        """What fits on one line of the terminal, as markup."""
        room = self.console.width - SPINNER_COLUMNS
        return escape(line if len(line) <= room else f"{line[: room - 1]}…")


@contextmanager
def failures_as_sentences(progress: Progress, interrupted: str) -> Iterator[None]:
    """End a command on an error with its sentences and exit code 1, not with a traceback.

    Args:
        progress: Where the sentences go.
        interrupted: What to say when a person interrupts the command.
    """
    try:
        yield
    except ClusterError as error:
        for line in error.lines():
            progress.console.print(f"[red]{escape(line)}[/]" if line == error.message else escape(line))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        progress.note(interrupted)
        raise typer.Exit(130) from None
