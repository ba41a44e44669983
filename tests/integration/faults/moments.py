"""Moments of API calls at which a test acts: before and after the nth one. TEST TOOL.

A proxy asks its `hook` about each call that counts, in the order in which they came, and lets no other
request pass meanwhile. `At` is such a hook: it does one thing at one moment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from integration.faults.requests import Call


class Moment(Enum):
    """A moment of a call, as the API server sees it."""

    BEFORE = "before"
    """It has arrived at the proxy; the API server knows nothing of it."""
    AFTER = "after"
    """The API server has done it and answered; the client knows nothing of that."""


Hook = Callable[[int, Moment, Call], bool]
"""Is told the number of a call (from 1), the moment and the call; returns whether it goes no further.

A call that goes no further before is never passed on; after, its answer is lost. Its connection is reset.
"""


def go_on(_number: int, _moment: Moment, _call: Call) -> bool:
    """Let every call pass."""
    return False


@dataclass
class At:
    """Does one thing, once, before or after the nth call, which then goes no further.

    Attributes:
        number: which call, from 1.
        moment: before or after it.
        act: what is done, such as killing the client.
        done: the call at which it was done, or None so far.
    """

    number: int
    moment: Moment
    act: Callable[[], None]
    done: Call | None = None

    def __call__(self, number: int, moment: Moment, call: Call) -> bool:
        if (number, moment) != (self.number, self.moment):
            return False
        self.done = call
        self.act()
        return True
