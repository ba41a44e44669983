"""``spec.security.allowUnsafe``: the rules that a deployment overrides on purpose."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from disagg_operator.api.admission.rule import Finding

FIELD = "spec.security.allowUnsafe"


def unknown(unsafe: Mapping[str, bool], ids: Sequence[str]) -> Iterator[Finding]:
    """Find what is no rule, or no rule that may be overridden.

    Args:
        unsafe: for each rule's id, whether it may be overridden.
        ids: what the deployment names.
    """
    possible = sorted(rule for rule, overridable in unsafe.items() if overridable)
    for index, each in enumerate(ids):
        if each in possible:
            continue
        fault = f"rule {each!r} cannot be overridden" if each in unsafe else f"there is no rule {each!r}"
        close = get_close_matches(each, possible, n=1)
        remedy = f"Did you mean {close[0]}?" if close else f"Rules that can be: {', '.join(possible)}"
        yield Finding(f"{FIELD}[{index}]", fault, remedy)
