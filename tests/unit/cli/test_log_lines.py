"""Lines of many logs: each is told once, whatever breaks off, and marked by its pod."""

from disagg_operator.cli.live.pod_logs import Extent
from disagg_operator.cli.log_lines import Palette, Position, coloured, plain


def at(time: str) -> str:
    return f"2026-11-26T{time}Z"


def read(position: Position, *lines: str) -> list[str]:
    return [line for each in lines if (line := position.read(each)) is not None]


def test_a_log_that_is_asked_for_again_goes_on_after_the_last_line() -> None:
    position = Position()
    assert read(position, f"{at('10:01')} a", f"{at('10:02')} b", f"{at('10:02')} c") == ["a", "b", "c"]
    assert position.go_on() == at("10:02")
    # The API server answers from the second on, with what was told before.
    again = [f"{at(time)} {text}" for time, text in (("10:01", "a"), ("10:02", "b"), ("10:02", "c"))]
    assert read(position, *again, f"{at('10:02')} d", f"{at('10:03')} e") == ["d", "e"]
    position.go_on()
    assert read(position, f"{at('10:03')} e", f"{at('10:03')} e") == ["e"]


def test_empty_lines_are_lines() -> None:
    assert read(Position(), f"{at('10:01')} ", at("10:02")) == ["", ""]


def test_a_line_without_a_stamp_is_told_and_silences_none_after_it() -> None:
    position = Position()
    refused = "failed to open the log of the container"
    assert read(position, refused, f"{at('10:01')} a") == [refused, "a"]
    assert position.go_on() == at("10:01")
    assert read(position, refused, f"{at('10:02')} b") == [refused, "b"]


def test_the_rest_of_a_line_that_was_cut_is_told_as_often_as_its_beginning() -> None:
    position = Position()
    assert read(position, f"{at('10:01')} begins", "and ends") == ["begins", "and ends"]
    position.go_on()
    assert read(position, f"{at('10:01')} begins", "and ends", f"{at('10:01')} b", "!") == ["b", "!"]


def test_older_lines_are_told_but_where_they_come_again() -> None:
    position = Position()
    assert read(position, f"{at('10:02')} b", f"{at('10:01')} late", f"{at('10:02')} c") == ["b", "late", "c"]
    assert position.go_on() == at("10:02")
    assert read(position, f"{at('10:01')} late", f"{at('10:02')} b", f"{at('10:02')} c") == []
    assert read(position, f"{at('10:03')} d", f"{at('10:01')} later") == ["d", "later"]


def test_lines_keep_their_own_colours_and_move_no_cursor() -> None:
    assert plain("p-0", "a b") == "[p-0] a b"
    text = coloured("p-0", "\x1b[31mred\x1b[0m\x1b[2J", "cyan")
    assert text.plain == "[p-0] red"
    assert {str(span.style) for span in text.spans} >= {"cyan", "color(1)"}


def test_what_rich_lets_through_reaches_no_terminal() -> None:
    line = "a\x1bc\x1b#8b\x1b]52;c;aGk=\x07c\x9b2Jd\x1b)0\x1b[31me\x1b\x1b[0mcf\rg\x85"
    text = coloured("p-0", line, "cyan")
    assert text.plain == "[p-0] abcdecfg"
    assert "color(1)" in {str(span.style) for span in text.spans}


def test_a_pod_keeps_its_colour() -> None:
    palette = Palette()
    first = [palette.of(pod) for pod in ("a", "b", "a")]
    assert first[0] == first[2] != first[1]


def test_only_what_is_wished_for_is_asked() -> None:
    assert Extent().query("worker") == {"container": "worker"}
    whole = Extent(5, 60, "2026-01-01T00:00:00Z", previous=True, follow=True, stamped=True)
    assert whole.query("w") == {
        **{"container": "w", "tailLines": "5", "sinceSeconds": "60", "sinceTime": "2026-01-01T00:00:00Z"},
        **{"previous": "true", "follow": "true", "timestamps": "true"},
    }
