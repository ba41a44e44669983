"""Tables: framed in a terminal, a line for each row in a pipe."""

import pytest

from disagg_operator.cli.terminal import show


def test_a_pipe_gets_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    long = "why " * 200
    show(("Name", "Why"), [("a", f"{long}\nand who says so"), ("b", "because")], title="Settings [of a]")
    title, heading, first, second = capsys.readouterr().out.splitlines()
    assert title == "Settings [of a]"
    assert heading.split() == ["Name", "Why"]
    assert first.split("  ")[0] == "a"
    assert first.rstrip().endswith("and who says so")
    assert second.split() == ["b", "because"]
