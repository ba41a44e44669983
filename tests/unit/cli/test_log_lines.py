"""Lines of many logs: each is told once, whatever breaks off, and marked by its pod."""

from disagg_operator.cli.live.pod_logs import Extent
from disagg_operator.cli.log_lines import Palette, Position, coloured, plain


def read(position: Position, *lines: str) -> list[str]:
    return [line for each in lines if (line := position.read(each)) is not None]


def test_a_log_that_is_asked_for_again_goes_on_after_the_last_line() -> None:
    position = Position()
    assert read(position, "10:01Z a", "10:02Z b", "10:02Z c") == ["a", "b", "c"]
    assert position.go_on() == "10:02Z"
    # The API server answers from the second on, with what was told before.
    assert read(position, "10:01Z a", "10:02Z b", "10:02Z c", "10:02Z d", "10:03Z e") == ["d", "e"]
    position.go_on()
    assert read(position, "10:03Z e", "10:03Z e") == ["e"]


def test_empty_lines_are_lines() -> None:
    assert read(Position(), "10:01Z ", "10:02Z") == ["", ""]


def test_lines_keep_their_own_colours_and_move_no_cursor() -> None:
    assert plain("p-0", "a b") == "[p-0] a b"
    text = coloured("p-0", "\x1b[31mred\x1b[0m\x1b[2J", "cyan")
    assert text.plain == "[p-0] red"
    assert {str(span.style) for span in text.spans} >= {"cyan"}


def test_a_pod_keeps_its_colour() -> None:
    palette = Palette()
    first = [palette.of(pod) for pod in ("a", "b", "a")]
    assert first[0] == first[2] != first[1]


def test_only_what_is_wished_for_is_asked() -> None:
    assert Extent().query("worker") == {"container": "worker"}
    whole = Extent(5, 60, "2026-01-01T00:00:00Z", previous=True, follow=True, most_bytes=9, stamped=True)
    assert whole.query("w") == {
        **{"container": "w", "tailLines": "5", "sinceSeconds": "60", "sinceTime": "2026-01-01T00:00:00Z"},
        **{"previous": "true", "follow": "true", "limitBytes": "9", "timestamps": "true"},
    }
