"""From a resource that shows a fault to a small one that shows it still."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from generated.resources import places

TRIES = 400
"""Resources that are judged for it: enough for a specification, and over in seconds."""


def shrunk(resource: Any, shows: Callable[[Any], bool]) -> Any:
    """Return the resource without what the fault does not need.

    Args:
        resource: it shows the fault.
        shows: tells whether another one shows it too.
    """
    left, smaller = TRIES, True
    while smaller and left > 0:
        smaller = False
        for candidate in _smaller(resource):
            left -= 1
            if left <= 0:
                break
            if shows(candidate):
                resource, smaller = candidate, True
                break
    return resource


def _smaller(resource: Any) -> Iterator[Any]:
    """Yield resources without one entry, the largest parts first, and with texts cut in half."""
    count = sum(1 for _ in places(resource))
    for number in range(min(count, TRIES)):
        candidate = copy.deepcopy(resource)
        container, key = next(each for index, each in enumerate(places(candidate)) if index == number)
        del container[key]
        yield candidate
    for number in range(min(count, TRIES)):
        candidate = copy.deepcopy(resource)
        container, key = next(each for index, each in enumerate(places(candidate)) if index == number)
        if isinstance(container[key], str) and len(container[key]) > 8:
            container[key] = container[key][: len(container[key]) // 2]
            yield candidate
