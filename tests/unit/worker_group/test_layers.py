"""Layers are shared among ranks: each is held once, in order, as evenly as can be."""

from hypothesis import given
from hypothesis import strategies as st

from disagg_worker.layers import ALONE, Layers, Place


@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.just(total), st.integers(1, total))))
def test_each_layer_is_held_by_one_rank(sizes: tuple[int, int]) -> None:
    total, ranks = sizes
    held = [Place(rank, ranks).layers(total) for rank in range(ranks)]
    assert [layer for part in held for layer in range(part.first, part.end)] == list(range(total))
    counts = [part.count for part in held]
    assert counts == sorted(counts, reverse=True), (
        "the last rank, which has the head, has no more than others"
    )
    assert max(counts) - min(counts) <= 1


def test_a_rank_alone_is_the_first_and_the_last() -> None:
    assert ALONE.is_first
    assert ALONE.is_last
    assert ALONE.layers(30) == Layers(0, 30)
    assert [Place(rank, 3).is_last for rank in range(3)] == [False, False, True]


def test_shared_layers_may_be_none() -> None:
    assert Layers(0, 15).shared(Layers(10, 20)) == Layers(10, 15)
    assert Layers(0, 15).shared(Layers(15, 30)).count == 0
    assert Layers(0, 10).shared(Layers(20, 30)).count == 0
