"""Coalescing: every pair once, neighbours merged, never more than both sides allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_worker.layers import Layers, Place
from disagg_worker.transfer.segments import Holding, Segment, Span, coalesce, spans


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
    near, far = Holding(1000, Layers(0, 5)), Holding(5000, Layers(0, 5))
    assert spans([Segment(1, 2, 3)], near, far, 2) == [Span(1010, 5020, 30)]


def test_of_ranks_that_hold_different_layers_each_block_is_a_span_of_its_own() -> None:
    near, far = Holding(1000, Layers(2, 6)), Holding(5000, Layers(0, 4))
    # Of each block layers 2 and 3: the first two here, the last two there.
    assert spans([Segment(1, 2, 2)], near, far, 10) == [Span(1040, 5100, 20), Span(1080, 5140, 20)]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_all_ranks_together_read_every_layer_of_every_block_once(
    total: int, readers: int, owners: int
) -> None:
    """Blocks 1 and 2 of the owners' pools go to blocks 0 and 2 of the readers'."""
    readers, owners = min(readers, total), min(owners, total)
    pairs = {0: 1, 2: 2}
    read = []
    for reader in (Place(rank, readers).layers(total) for rank in range(readers)):
        for owner in (Place(rank, owners).layers(total) for rank in range(owners)):
            if not reader.shared(owner).count:
                continue
            segments = coalesce(list(pairs), list(pairs.values()))
            for local, remote, length in spans(segments, Holding(0, reader), Holding(0, owner), 1):
                for step in range(length):
                    block, layer = divmod(local + step, reader.count)
                    assert divmod(remote + step, owner.count) == (
                        pairs[block],
                        layer + reader.first - owner.first,
                    )
                    read.append((block, layer + reader.first))
    assert sorted(read) == [(block, layer) for block in pairs for layer in range(total)]
