"""Pictures of dashboards: all panels are on them, with what was answered."""

from typing import Any

import pytest

from chart.asked import DASHBOARDS
from monitoring.picture import Series, named, picture, shown


def nothing(_: str, __: bool) -> list[Series]:
    return []


def one(query: str, over: bool) -> list[Series]:
    labels = {"reason": "ServingRequests", "namespace": "ai", "deployment": "demo", "condition": "Available"}
    values: dict[str, Any] = (
        {"values": [[0, "1"], [60, "NaN"], [120, "2"]]} if over else {"value": [120, "1"]}
    )
    return [{"metric": labels, **values}] if "histogram" not in query else []


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_each_panel_is_drawn_where_nothing_is_answered(board: dict[str, Any]) -> None:
    drawn = picture(board, nothing)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["title"] in drawn for panel in board["panels"])
    assert drawn.count("no data") == len(panels)


@pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)
def test_the_same_answers_give_the_same_picture(board: dict[str, Any]) -> None:
    drawn = picture(board, one)
    assert drawn == picture(board, one)
    assert "True" in drawn or "ai/demo" in drawn
    assert "no data" in drawn, "histograms have no series here"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0321, "s", "32.1 ms"),
        (2.5, "s", "2.5 s"),
        (1.25e6, "Bps", "1.25 MB/s"),
        (12.0, "bytes", "12 B"),
        (0.5, "percentunit", "50%"),
        (7.0, "suffix:tokens/s", "7 tokens/s"),
        (3.0, "short", "3"),
    ],
)
def test_numbers_have_their_unit(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_a_series_is_named_by_its_labels() -> None:
    assert named("{{role}} {{ absent }}p50", {"role": "decode"}) == "decode p50"
