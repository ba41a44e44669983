"""What the API server asked to be spared of for a while: Retry-After.

Invariant: what was answered so is not asked again, about any object of the kind, before the time that the
answer names; everything else is, so that one busy resource stops nothing but itself.
"""

import asyncio
import math

from disagg_operator.reconcile.errors import ClusterError

_TOO_MANY_REQUESTS = 429
Lane = tuple[str, str]
"""Verb and kind of requests."""


class Patience:
    """The lanes that are closed, and until when."""

    def __init__(self) -> None:
        self._until: dict[Lane, float] = {}

    def check(self, lane: Lane) -> None:
        """Do nothing while a lane is open.

        Raises:
            ClusterError: it is closed, for so many seconds.
        """
        left = self._until.get(lane, -math.inf) - asyncio.get_running_loop().time()
        if left > 0:
            verb, kind = lane
            raise ClusterError(
                _TOO_MANY_REQUESTS,
                "TooManyRequests",
                f"the API server is busy, and asked to {verb} no {kind} for another {left:.1f} s",
                left,
            )
        self._until.pop(lane, None)

    def note(self, lane: Lane, error: ClusterError) -> None:
        """Close a lane where an error asks for that."""
        if error.retry_after:
            self._until[lane] = asyncio.get_running_loop().time() + error.retry_after
