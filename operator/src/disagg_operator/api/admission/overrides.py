"""``spec.security.allowUnsafe``: the rules that a deployment overrides on purpose."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from disagg_operator.api.admission.rule import Rule
from disagg_operator.api.problems import Problem

FIELD = "spec.security.allowUnsafe"
RULE = "allow-unsafe-known"


def honoured(rules: Iterable[Rule], ids: Sequence[str]) -> frozenset[str]:
    """Return the ids of ``ids`` that may be overridden."""
    return frozenset(rule.id for rule in rules if rule.unsafe and rule.id in ids)


def unknown(rules: Sequence[Rule], ids: Sequence[str]) -> tuple[Problem, ...]:
    """Return a problem for each of ``ids`` that is no rule, or no rule that may be overridden."""
    possible = sorted(rule.id for rule in rules if rule.unsafe)
    others = {rule.id for rule in rules if not rule.unsafe}
    problems = []
    for index, each in enumerate(ids):
        if each in possible:
            continue
        fault = f"rule {each!r} cannot be overridden" if each in others else f"there is no rule {each!r}"
        close = get_close_matches(each, possible, n=1)
        remedy = f"Did you mean {close[0]}?" if close else f"Rules that can be: {', '.join(possible)}"
        problems.append(Problem(f"{FIELD}[{index}]", fault, remedy, RULE))
    return tuple(problems)
