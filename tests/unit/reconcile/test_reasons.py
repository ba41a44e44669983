"""Reasons of conditions: those that the code spells are those that are listed."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from textwrap import dedent
from types import ModuleType
from typing import Any, get_args

from disagg_operator.reconcile import download, reconciler
from disagg_operator.reconcile.computedomain import standing
from disagg_operator.reconcile.preflight.fault import Check
from disagg_operator.reconcile.reporting import conditions, fetching
from disagg_operator.reconcile.reporting.reasons import REASONS, WELL
from disagg_operator.reconcile.rollout import progress
from disagg_operator.reconcile.verification import proof
from disagg_operator.verify import verdict

LISTED = frozenset[str]().union(*REASONS.values())
WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")
SPELLING = (conditions, download, fetching, proof, progress, reconciler._failure)
"""Where reasons are chosen, but for those that are members of an enumeration."""
NAMED = {*Check, *standing.Reason, *get_args(verdict.Reason)}
OTHERS = {"True", "False", "Unknown", "ContainersReady"}
"""Words of Kubernetes' own."""


def spelled(part: ModuleType | Callable[..., Any]) -> Iterator[str]:
    """Yield the texts of a module or function that look like a reason."""
    for node in ast.walk(ast.parse(dedent(inspect.getsource(part)))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
            yield node.value


def test_each_reason_that_is_chosen_is_listed_and_no_other_is() -> None:
    found = {text for part in SPELLING for text in spelled(part)}
    assert found - OTHERS | NAMED == LISTED


def test_what_says_that_all_is_well_is_a_reason() -> None:
    assert WELL <= LISTED
