"""Holds chosen calls of the operator until it is killed, each deployment's at a point of its own. TEST TOOL.

So many deployments come to points of their own, and one kill is a crash at all of them. What is held before
is never passed on; what is held after is never answered.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from integration.faults.crash.points import Labelled, Point, labelled
from integration.faults.faults import Exchange
from integration.faults.proxy import FaultProxy
from integration.faults.requests import Call


@dataclass
class _Hold:
    """The fault that a call meets at its point: nothing more comes of it."""

    point: Point
    since: float | None = None

    async def __call__(self, exchange: Exchange) -> None:
        if self.point.when == "after":
            await exchange.forward()
        self.since = time.monotonic()
        # Ends when the client has gone.
        await asyncio.Event().wait()


@dataclass
class Gate:
    """What stands between the operator and the API server.

    Attributes:
        proxy: by which it does so.
    """

    proxy: FaultProxy
    _holds: dict[str, _Hold] = field(default_factory=dict)
    _since: int = 0

    def arm(self, points: Mapping[str, Point]) -> None:
        """Hold the call of each deployment that comes to its point; calls count from now on."""
        self.proxy.heal()
        self._since = len(self.proxy.log)
        self._holds = {name: _Hold(point) for name, point in points.items()}
        for name, hold in self._holds.items():
            meant = partial(_is, name, hold.point.label)
            self.proxy.on(meant, hold, skip=hold.point.occurrence - 1, times=1)

    def open(self) -> None:
        """Hold nothing any more; calls count from now on."""
        self.arm({})

    def held(self) -> dict[str, float]:
        """Return for how many seconds each call has been held that came to its point, by deployment."""
        now = time.monotonic()
        return {name: now - hold.since for name, hold in self._holds.items() if hold.since is not None}

    def calls(self, deployment: str) -> list[Labelled]:
        """Return the calls about a deployment since they began to count."""
        found = (labelled(entry.call) for entry in self.proxy.log[self._since :])
        return [call for call in found if call is not None and call.deployment == deployment]

    def writes(self) -> Counter[str]:
        """Count the writes since then, by deployment."""
        found = (labelled(entry.call) for entry in self.proxy.log[self._since :])
        return Counter(call.deployment for call in found if call is not None and call.write)


def _is(deployment: str, label: str, call: Call) -> bool:
    found = labelled(call)
    return found is not None and (found.deployment, found.label) == (deployment, label)
