"""Lint never fails on a document, and says no less than the operator, whatever is wrong with it."""

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.cli.judging import judged_whole
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DOCUMENTS = [
    yaml.safe_load((EXAMPLES / path).read_text())
    for path in ("04-efa/llama-70b.yaml", "02-tuned/smollm2.yaml")
]
INSTALLATION = Installation(worker_image="worker")
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A deployment in which some fields are replaced, renamed or left out."""
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 4))):
        parent: Any = document
        while True:
            key = draw(st.sampled_from(sorted(parent)))
            if not isinstance(parent[key], dict) or not parent[key] or draw(st.booleans()):
                break
            parent = parent[key]
        how = draw(st.sampled_from(["replace", "rename", "leave out"]))
        value = parent.pop(key)
        if how == "rename":
            parent[f"{key[1:]}{key[:1]}"] = value
        elif how == "replace" or not parent:
            parent[key] = draw(JUNK)
    return document


@settings(max_examples=50)
@given(damaged())
def test_all_that_the_operator_refuses_is_told_and_nothing_else_where_it_refuses_nothing(
    document: dict[str, Any],
) -> None:
    refused: tuple[Any, ...] = ()
    try:
        plan(accept(document), INSTALLATION)
    except Refusal as refusal:
        refused = refusal.problems
    told = judged_whole(document, INSTALLATION).refused
    assert set(refused) <= set(told)
    assert bool(refused) == bool(told)
    assert len({(problem.field, problem.fault) for problem in told}) == len(told)
