"""Where two measured curves cross, and that the picture of them is one."""

from xml.etree import ElementTree

import pytest

from bench.routing.crossover import crossover, picture

CHEAP, DEAR = {4: 10.0, 16: 40.0, 64: 160.0}, {4: 50.0, 16: 60.0, 64: 100.0}


def test_curves_cross_between_the_lengths_that_bracket_it() -> None:
    found = crossover(CHEAP, DEAR)
    assert found is not None
    assert 16 < found < 64
    assert crossover({4: 1.0, 16: 3.0}, {4: 1.0, 16: 2.0}) == pytest.approx(4.0)


def test_curves_that_do_not_cross_have_no_crossover() -> None:
    assert crossover({4: 1.0, 16: 2.0}, {4: 2.0, 16: 3.0}) is None
    assert crossover({4: 3.0, 16: 4.0}, {4: 2.0, 16: 3.0}) is None


def test_the_picture_has_both_curves_and_where_they_cross() -> None:
    drawn = ElementTree.fromstring(picture("title", {"a": CHEAP, "b": DEAR}, 30.0))  # noqa: S314 - our own
    words = {found.text for found in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"title", "a", "b", "30 tokens"} <= words
