"""What people see while a step runs, and which line of a failure they are told."""

import io
import time

import pytest
from rich.console import Console

from testcluster.commands import fault
from testcluster.console import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (119, "119 s"), (120, "2 min 00 s"), (754, "12 min 34 s")],
)
def test_times_read_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_narrow_terminal_shows_the_time_of_a_step_with_a_long_detail() -> None:
    terminal = io.StringIO()
    progress = Progress(Console(file=terminal, force_terminal=True, width=60, soft_wrap=True))
    with progress.step("Build a thing that takes a while") as step:
        step.detail = "x" * 100
        time.sleep(0.6)
    running = terminal.getvalue()
    assert "takes a while (0." in running
    assert "x…" in running
    assert "x" * 40 not in running


def test_a_pipe_gets_one_line_for_a_quick_step() -> None:
    pipe = io.StringIO()
    with Progress(Console(file=pipe, width=80)).step("Quick"):
        pass
    assert pipe.getvalue() == "✓ Quick (0.0 s)\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "error: Apply failed with 1 conflict: .spec\nPlease review\nSee https://example.org",
            "error: Apply failed with 1 conflict: .spec",
        ),
        ("one\ntwo", "two"),
        ("", "it said nothing"),
    ],
)
def test_a_failure_is_told_by_the_line_that_names_the_fault(text: str, line: str) -> None:
    assert fault(text) == line
