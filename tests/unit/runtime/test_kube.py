"""How the adapter to the API server goes about its requests."""

import asyncio
from typing import Any

from disagg_operator.reconcile.kinds import Object
from disagg_operator.runtime.kube import KubeCluster
from disagg_operator.runtime.official import Configuration

OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one", "namespace": "ns", "uid": "uid-of-one"},
}


class SlowCluster(KubeCluster):
    """SIMULATED: an API server that answers each request a little later."""

    busy = most = done = 0

    async def _request(self, *arguments: Any, **options: Any) -> Object:  # noqa: ARG002
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        self.done += 1
        return OBJECT


async def _write_many(count: int) -> SlowCluster:
    cluster = SlowCluster(Configuration())
    try:
        await asyncio.gather(*(cluster.apply(OBJECT) for _ in range(count)))
    finally:
        await cluster.close()
    return cluster


def test_some_writes_are_under_way_at_the_same_time_but_not_too_many() -> None:
    cluster = asyncio.run(_write_many(40))
    assert (cluster.most, cluster.done) == (16, 40)
