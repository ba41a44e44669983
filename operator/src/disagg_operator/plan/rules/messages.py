"""What a rule says, read out of its code, so that a document says the same as it. For `make crds` alone.

A rule's function makes findings, itself or by functions of its module that it calls. The second value of the
first finding is the fault; what is filled in when it is told becomes an ellipsis.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_FAULT = 1
"""Place of the fault among the values of a finding."""
_DEPTH = 4
"""Functions that call each other, at most."""


def fault(find: Callable[..., Any]) -> str:
    """Return what a rule's function says is wrong, or nothing where that cannot be read."""
    return next(_faults(find, _DEPTH), "")


def _faults(find: Callable[..., Any], depth: int) -> Iterator[str]:
    """Yield the faults of a function, its own first."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(find)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "Finding" and len(call.args) > _FAULT:
            yield from _texts(call.args[_FAULT], tree)
    names = inspect.getclosurevars(find)
    known = {**names.globals, **names.nonlocals}
    for node in ast.walk(tree):
        other = known.get(node.id) if isinstance(node, ast.Name) else None
        if depth and inspect.isfunction(other) and other is not find:
            yield from _faults(other, depth - 1)


def _texts(value: ast.expr, tree: ast.AST) -> Iterator[str]:
    """Yield the texts that an expression may be."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in value.values)
        yield "".join(map(str, parts))
    elif isinstance(value, ast.IfExp):
        yield from _texts(value.body, tree)
        yield from _texts(value.orelse, tree)
    elif isinstance(value, ast.Name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and value.id in _names(node.targets):
                yield from _texts(node.value, tree)


def _names(targets: Iterable[ast.expr]) -> Iterator[str]:
    return (target.id for target in targets if isinstance(target, ast.Name))
