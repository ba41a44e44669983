"""Merging a user's partial pod template over the derived one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.api.merge import merged

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("base", "overlay", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
        ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
        (
            [{"name": "w", "image": "i"}],
            [{"name": "w", "tty": True}],
            [{"name": "w", "image": "i", "tty": True}],
        ),
        ([{"name": "w"}], [{"name": "sidecar"}], [{"name": "w"}, {"name": "sidecar"}]),
        (
            [{"name": "home", "mountPath": "/h"}],
            [{"name": "home", "mountPath": "/other"}],
            [{"name": "home", "mountPath": "/h"}, {"name": "home", "mountPath": "/other"}],
        ),
        (["a", "b"], ["c"], ["c"]),
        ([{"name": "w"}], [{"name": ["no text"]}], [{"name": ["no text"]}]),
        ({"a": {"x": 1}, "b": 2}, {"a": {"$patch": "delete"}}, {"b": 2}),
        ([{"name": "w"}, {"name": "x"}], [{"name": "w", "$patch": "delete"}], [{"name": "x"}]),
        ({}, {"a": [{"name": "w", "$patch": "delete"}, {"name": "x"}]}, {"a": [{"name": "x"}]}),
        ([], [{"name": "x"}], [{"name": "x"}]),
    ],
)
def test_merging(base: Any, overlay: Any, expected: Any) -> None:
    assert merged(base, overlay) == expected


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_an_empty_overlay_changes_nothing(base: dict[str, Any]) -> None:
    assert merged(base, {}) == base


@given(json_values, json_values)
def test_merging_changes_neither_side(base: Any, overlay: Any) -> None:
    before = repr(base), repr(overlay)
    merged(base, overlay)
    assert (repr(base), repr(overlay)) == before
