"""Objects as deeply nested as the API server takes them.

A podTemplate may hold maps in maps without end, and Python's own limit would end the watch of everybody's
objects at one of a thousand levels.
"""

import sys

_DEEPEST = 10_000
"""Levels of the deepest object that the API server takes (sigs.k8s.io/json: maxNestingDepth)."""
_CALLS = 4
"""Calls for each level, of who walks through an object. The usual stack of 8 MB was seen to hold them."""


def allow_deep_objects() -> None:
    """Let this process read whatever the API server holds; what makes no sense so deep is refused later."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _CALLS * _DEEPEST))
