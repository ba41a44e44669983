"""Coalescing: every pair once, neighbours merged, never more than both sides allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_worker.transfer.segments import Segment, Span, coalesce, spans


@pytest.mark.parametrize(
    ("local", "remote", "segments"),
    [
        ([], [], []),
        ([0, 1, 2], [7, 8, 9], [Segment(0, 7, 3)]),
        ([2, 1, 0], [9, 8, 7], [Segment(0, 7, 3)]),
        ([0, 1, 2], [9, 8, 7], [Segment(0, 9, 1), Segment(1, 8, 1), Segment(2, 7, 1)]),
        ([0, 1, 3], [5, 6, 7], [Segment(0, 5, 2), Segment(3, 7, 1)]),
    ],
)
def test_neighbours_on_both_sides_become_one(
    local: list[int], remote: list[int], segments: list[Segment]
) -> None:
    assert coalesce(local, remote) == segments


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(*[st.permutations(range(n))] * 2)))
def test_each_pair_is_covered_once(lists: tuple[list[int], list[int]]) -> None:
    local, remote = lists
    covered = [
        (segment.local + step, segment.remote + step)
        for segment in coalesce(local, remote)
        for step in range(segment.blocks)
    ]
    assert sorted(covered) == sorted(zip(local, remote, strict=True))


def test_lists_of_different_length_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        coalesce([1], [1, 2])


def test_spans_are_addresses() -> None:
    assert spans([Segment(1, 2, 3)], 1000, 5000, 10) == [Span(1010, 5020, 30)]
