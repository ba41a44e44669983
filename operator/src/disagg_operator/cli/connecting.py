"""Working with a cluster from a command, without loading the Kubernetes client before."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from disagg_operator.cli.place import Place

T = TypeVar("T")


def connected(place: Place, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do work with a `live.connection.Connection` to the cluster, and return what it returns.

    Raises:
        UserError: there is no usable kubeconfig.
    """
    from disagg_operator.cli.live import connection  # noqa: PLC0415 - loads the Kubernetes client

    async def run() -> T:
        async with connection.connect(place) as found:
            return await work(found)

    return asyncio.run(run())
