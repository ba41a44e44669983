"""What a reconcile costs, in calls of functions: they are the same on a busy machine and on an idle one."""

import asyncio
import cProfile
import pstats

from disagg_operator.plan import names
from unit.reconcile.fake_cluster import MADE, FakeCluster, controlled_by, deployment
from unit.reconcile.test_reconciler import converge, reconciler


def with_pods(groups: int) -> FakeCluster:
    """Return a deployment of so many pod groups of two pods, none of them ready."""
    cluster = FakeCluster(deployment(decode={"replicas": groups, "nodesPerReplica": 2}))
    cluster.healthy = lambda _: False
    converge(cluster)
    for (kind, name), obj in list(cluster.objects.items()):
        if kind == "StatefulSet":
            labels = obj["spec"]["template"]["metadata"]["labels"]
            for index in range(obj["spec"]["replicas"]):
                cluster.objects["Pod", f"{name}-{index}"] = {
                    "kind": "Pod",
                    "metadata": {
                        "name": f"{name}-{index}",
                        "namespace": cluster.key.namespace,
                        "labels": {**labels, names.LABEL_POD_INDEX: str(index)},
                        "uid": f"uid-of-{name}-{index}",
                        "creationTimestamp": MADE,
                        "ownerReferences": [controlled_by(obj)],
                    },
                }
    return cluster


def calls(cluster: FakeCluster) -> int:
    """Return how many functions a reconcile calls that finds nothing to do."""
    one = reconciler(cluster)
    asyncio.run(one.reconcile(cluster.key))
    cluster.writes.clear()
    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(one.reconcile(cluster.key))
    profile.disable()
    assert not cluster.writes
    found: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return found


def test_the_cost_of_a_reconcile_grows_no_faster_than_the_pod_groups() -> None:
    few, many = calls(with_pods(20)), calls(with_pods(80))
    assert many < 5 * few, "four times as many groups"
