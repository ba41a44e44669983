"""Lets the API server refuse text in words: a rule with a message in place of a bare regular expression."""

from typing import Any

from disagg_operator.api.crd.lint import StructureError
from disagg_operator.api.crd.words import with_children
from disagg_operator.api.v1alpha1.markers import cel
from disagg_operator.api.v1alpha1.patterns import QUANTITY, WORDS

Schema = dict[str, Any]


def spoken(node: Schema) -> Schema:
    """Return a schema whose patterns are CEL rules that say what to write.

    Quantities keep their pattern: Kubernetes 1.33 takes what is a number or text to be as long as a request
    may be, so that a rule on each quantity of a map exceeds its budget and it refuses the definition.

    Raises:
        StructureError: a pattern has no words.
    """
    result = with_children(node, spoken)
    pattern = result.pop("pattern", None)
    if pattern is None:
        return result
    if pattern not in WORDS:
        raise StructureError(f"pattern {pattern} has no words: add them to patterns.WORDS")
    if pattern == QUANTITY:
        return {**result, "pattern": pattern, "minimum": 0}
    text = "string(self)" if "x-kubernetes-int-or-string" in node else "self"
    rule = cel(f"{text}.matches(r'{pattern}')", f"is not allowed here: write {WORDS[pattern]}")
    return {**result, "x-kubernetes-validations": [*node.get("x-kubernetes-validations", ()), rule]}
