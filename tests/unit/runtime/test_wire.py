"""JSON as the API server writes it, whatever it holds."""

import json
from typing import Any

import pytest

from disagg_operator.runtime import nesting, wire

DOCUMENTS: list[Any] = [
    {},
    {"a": [1, -2, 1.5, 1e300, True, None, "ä\u2028\U0001f600\x00"], "": {}},
    {"large": 2**63, "larger": 2**80, "small": -(2**80)},
    {"surrogate": "\ud800", "text": "x" * 1_000_000},
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_it_comes_back_as_it_was(document: Any) -> None:
    assert wire.decode(wire.encode(document)) == document
    assert wire.decode(json.dumps(document).encode()) == document
    assert json.loads(wire.encode(document)) == document


def test_depth_is_bounded_by_what_the_process_allows_alone() -> None:
    nesting.allow_deep_objects()
    text = b"[" * 9000 + b"]" * 9000
    deep = wire.decode(text)
    assert wire.encode(deep) == text


@pytest.mark.parametrize("text", [b"", b"{", b"{'a': 1}", b"[1,]", b"\xff"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each parser has its own words
        wire.decode(text)
