"""Tables: framed in a terminal, a line for each row in a pipe; and nothing that a terminal would obey."""

import io
import re

import pytest
import typer
from rich.console import Console
from rich.text import Text

from disagg_operator.cli.steps import Steps
from disagg_operator.cli.terminal import Fitting, UserError, dense, fail, printable, show, warn

OBEYED = (
    "\x1bc",
    "\x1b#8",
    "\x1b]52;c;aGk=\x07",
    "\x1b]0;title\x1b\\",
    "\x9b2J",
    "\x1b[2J",
    "\x9d0;t\x07",
    "\x00",
    "\x7f",
)


def test_a_pipe_gets_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    long = "why " * 200
    show(("Name", "Why"), [("a", f"{long}\nand who says so"), ("b", "because")], title="Settings [of a]")
    title, heading, first, second = capsys.readouterr().out.splitlines()
    assert title == "Settings [of a]"
    assert heading.split() == ["Name", "Why"]
    assert first.split("  ")[0] == "a"
    assert first.rstrip().endswith("and who says so")
    assert second.split() == ["b", "because"]


def test_columns_in_a_pipe_end_at_two_spaces_and_no_line_ends_in_spaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows: list[tuple[str | Text, ...]] = [
        ("a", "", "two  words"),
        ("日本語", Text("x", style="red"), ""),
        ("b", "y", ""),
    ]
    show(("Name", "State", "Why"), rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Name    State  Why",
        "a       -      two words",
        "日本語  x      -",
        "b       y      -",
    ]
    assert [re.split("  +", line) for line in lines[1:]] == [
        ["a", "-", "two words"],
        ["日本語", "x", "-"],
        ["b", "y", "-"],
    ]


@pytest.mark.parametrize("sequence", OBEYED)
def test_nothing_that_a_terminal_obeys_is_printed(sequence: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"a{sequence}b"
    assert printable(text) == "ab"
    show(("Heading",), [(text,), (Text(text, style="red"),)], title=text)
    show(("Heading",), [(text,)], to_errors=True)
    warn(text)
    with pytest.raises(typer.Exit):
        fail(UserError(text))
    Steps(Console()).say(text)
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    # Rich itself takes the end of a sequence out of a cell with a style.
    assert printed.count("ab") >= 6
    assert not [character for character in printed if character != "\n" and not character.isprintable()]


def test_line_feeds_tabulators_and_other_scripts_stay() -> None:
    assert printable("a\tb\nc é 日本 🙂") == "a\tb\nc é 日本 🙂"
    # An escape sequence that does not end swallows nothing after it.
    assert printable("\x1b]52;c;aGk= and more") == "52;c;aGk= and more"


def test_what_is_longer_than_a_terminal_says_how_much_is_left_out() -> None:
    rows = [(f"pod-{number}", "Running") for number in range(30)]
    for height in (10, 40):
        console = Console(file=io.StringIO(), width=60, height=height, force_terminal=True, color_system=None)
        console.print(Fitting(Text("Pods"), dense(("Pod", "State"), rows)), end="")
        assert isinstance(console.file, io.StringIO)
        lines = console.file.getvalue().splitlines()
        # The title, the headings and a line below them.
        whole = 3 + len(rows)
        assert len(lines) == min(height, whole)
        assert ("pod-29" in lines[-1]) == (height > whole)
        if height < whole:
            assert lines[-1].startswith(f"… {whole - height + 1} more lines")
