"""In which turns objects are written, what is written at the same time, and what an error stops."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from disagg_operator.reconcile.applying.changes import Changes
from disagg_operator.reconcile.applying.diff import stamp
from disagg_operator.reconcile.applying.writing import Writer, turns
from disagg_operator.reconcile.errors import ClusterError, RetrySoonError
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import observe
from disagg_operator.reconcile.reporting.status import decides
from disagg_operator.reconcile.scaling.scalers import ScalerKeeper
from unit.reconcile.fake_cluster import FakeCluster, deployment


def objects() -> list[Object]:
    planned = plan(accept(deployment()), Installation("worker:1"))
    return [stamp(obj) for obj in (*shared_objects(planned), *worker_objects(planned))]


class SlowCluster(FakeCluster):
    """SIMULATED: an API server that takes its time, and notes what is written meanwhile."""

    def __init__(self, failing: str = "") -> None:
        super().__init__(deployment())
        self.failing, self.busy, self.most = failing, 0, 0
        self.begun: list[str] = []

    async def apply(self, obj: Object, *, new: bool = False) -> Object:
        self.begun.append(obj["kind"])
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        if obj["kind"] == self.failing:
            raise ClusterError(503, "ServiceUnavailable", "not now")
        return await super().apply(obj, new=new)


def write(cluster: SlowCluster, todo: list[Object]) -> None:
    writer = Writer(cluster, cluster, cluster, ScalerKeeper(cluster, cluster))
    changes = Changes(apply=tuple(todo), scale=(), delete=())
    asyncio.run(writer.write(deployment(), changes, observe([]), cast(Any, None)))


def test_what_makes_pods_comes_after_what_pods_need() -> None:
    first, second = turns(objects())
    assert {obj["kind"] for obj in second} == {"StatefulSet", "Deployment"}
    assert not {obj["kind"] for obj in first} & {obj["kind"] for obj in second}
    assert len(first) + len(second) == len(objects())


def test_keys_come_after_what_they_go_with_and_constraints_after_their_group() -> None:
    def made(api_version: str, kind: str) -> Object:
        return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "one"}}

    group = made("scheduling.x-k8s.io/v1alpha1", "PodGroup")
    found = turns([made("apps/v1", "StatefulSet"), made("v1", "Secret"), made("v1", "ConfigMap"), group])
    assert [[obj["kind"] for obj in turn] for turn in found] == [
        ["ConfigMap"],
        ["Secret"],
        ["StatefulSet"],
        ["PodGroup"],
    ]


def test_objects_of_a_turn_are_written_at_the_same_time_but_not_too_many() -> None:
    cluster = SlowCluster()
    write(cluster, objects())
    assert 2 <= cluster.most <= 8
    assert len(cluster.begun) == len(objects())


def test_after_an_error_nothing_of_a_later_turn_is_written() -> None:
    cluster = SlowCluster(failing="ConfigMap")
    with pytest.raises(RetrySoonError, match="not now"):
        write(cluster, objects())
    assert not {"StatefulSet", "Deployment"} & set(cluster.begun)


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({"updateRevision": "b"}, True),
        ({"transport": {"summary": "x"}}, True),
        ({"rollout": {"failed": "a"}}, True),
        ({"roles": {"decode": {"ready": "0/1", "desiredReplicas": 2}}}, True),
        ({"roles": {"decode": {"ready": "1/1", "desiredReplicas": 1, "readyReplicas": 1}}}, False),
        ({"conditions": [{"type": "Available", "status": "True"}]}, False),
        ({"observedGeneration": 2, "address": "http://x"}, False),
    ],
)
def test_the_next_reconcile_decides_by_records_and_not_by_counts(
    change: Mapping[str, Any], matters: bool
) -> None:
    before = {"updateRevision": "a", "roles": {"decode": {"ready": "0/1", "desiredReplicas": 1}}}
    assert (decides(before) != decides({**before, **change})) is matters
