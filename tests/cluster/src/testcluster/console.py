"""Progress for people: every step with its time, moving on a terminal, plain lines in a pipe."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

STILL_RUNNING_EVERY_SECONDS = 20.0


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
        """The step as it is shown while it runs."""
        detail = f" · {self.detail}" if self.detail else ""
        return f"{self.title}{detail} ({self.seconds:.0f} s)"


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
            self.console.print(f"[{colour}]{mark}[/] {escape(title + result)} [dim]({step.seconds:.1f} s)[/]")

    def note(self, text: str) -> None:
        """Print a line that belongs to no step."""
        self.console.print(escape(text))

    def _tick(self, step: Step, finished: threading.Event) -> None:
        if self.console.is_terminal:
            with self.console.status(escape(step.line())) as status:
                while not finished.wait(0.25):
                    status.update(escape(step.line()))
            return
        while not finished.wait(STILL_RUNNING_EVERY_SECONDS):
            self.console.print(f"… {escape(step.line())}")
