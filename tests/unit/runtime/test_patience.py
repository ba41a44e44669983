"""Retry-After: what the API server asked to be spared of is not asked again before its time."""

import asyncio

import pytest

from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.runtime.patience import Patience
from unit.runtime.fast_loop import run

BUSY = ClusterError(429, "TooManyRequests", "busy", retry_after=7)


def test_a_lane_is_closed_for_as_long_as_the_api_server_asked_and_no_longer() -> None:
    async def main() -> None:
        patience = Patience()
        patience.note(("apply", "StatefulSet"), BUSY)
        await asyncio.sleep(5)
        with pytest.raises(ClusterError, match=r"apply no StatefulSet for another 2\.0 s") as raised:
            patience.check(("apply", "StatefulSet"))
        assert (raised.value.code, raised.value.retry_after) == (429, 2)
        await asyncio.sleep(2)
        patience.check(("apply", "StatefulSet"))

    run(main())


def test_other_lanes_stay_open() -> None:
    async def main() -> None:
        patience = Patience()
        patience.note(("apply", "StatefulSet"), BUSY)
        patience.check(("apply", "ConfigMap"))
        patience.check(("list", "StatefulSet"))

    run(main())


def test_an_error_that_asks_for_nothing_closes_nothing() -> None:
    async def main() -> None:
        patience = Patience()
        patience.note(("apply", "StatefulSet"), ClusterError(500, "InternalError", "broken"))
        patience.check(("apply", "StatefulSet"))

    run(main())
