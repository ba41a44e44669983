"""Pod groups of which one pod is asked to end, as by an eviction, end as wholes."""

from datetime import UTC, datetime, timedelta

from disagg_operator.reconcile.groups.departing import left_behind
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed
from unit.reconcile.fake_cluster import FakeCluster, controlled_by
from unit.reconcile.test_groups import several
from unit.reconcile.test_reconciler import converge, drive

ASKED = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE = 400


def member(group: Object, index: int, *, born: int = -600, asked: int | None = None) -> Object:
    """Return a pod of a group, born and asked to end so many seconds after noon."""
    labels = group["spec"]["template"]["metadata"]["labels"]
    name = f"{group['metadata']['name']}-{index}"
    pod: Object = {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": f"{name}-{born}",
            "labels": {**labels, "apps.kubernetes.io/pod-index": str(index)},
            "creationTimestamp": stamp(born),
            "ownerReferences": [controlled_by(group)],
        },
        "spec": {"nodeName": f"node-{index}"},
    }
    if asked is not None:
        pod["metadata"] |= {
            "deletionTimestamp": stamp(asked + GRACE),
            "deletionGracePeriodSeconds": GRACE,
        }
    return pod


def stamp(seconds: int) -> str:
    return (ASKED + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def running() -> tuple[FakeCluster, list[Object]]:
    """Return a deployment with two groups of two nodes, and these."""
    cluster = several()
    converge(cluster)
    groups = [
        obj
        for (kind, _), obj in sorted(cluster.objects.items())
        if kind == "StatefulSet" and "disagg.dev/group" in obj["metadata"]["labels"]
    ]
    return cluster, groups


def names_left_behind(cluster: FakeCluster, *pods: Object) -> set[str]:
    observed = Observed(cluster.objects, pods)
    return {pod["metadata"]["name"] for _, found in left_behind(observed) for pod in found}


def test_the_rest_of_a_group_follows_the_pod_that_is_asked_to_end() -> None:
    cluster, (first, second) = running()
    others = [member(second, 0), member(second, 1)]
    for asked in (0, 1):
        pods = [member(first, index, asked=0 if index == asked else None) for index in (0, 1)]
        assert names_left_behind(cluster, *pods, *others) == {pods[1 - asked]["metadata"]["name"]}


def test_what_takes_the_place_of_a_pod_stays() -> None:
    cluster, (first, _) = running()
    assert not names_left_behind(cluster, member(first, 0, asked=0), member(first, 1, born=20))
    assert not names_left_behind(cluster, member(first, 0, born=20), member(first, 1, born=20))


def test_a_group_that_goes_by_itself_needs_no_help() -> None:
    cluster, (first, _) = running()
    first["metadata"]["deletionTimestamp"] = stamp(0)
    assert not names_left_behind(cluster, member(first, 0, asked=0), member(first, 1))


def test_a_group_that_is_scaled_to_nothing_needs_no_help() -> None:
    cluster, (first, _) = running()
    first["spec"]["replicas"] = 0
    assert not names_left_behind(cluster, member(first, 0), member(first, 1, asked=0))


def test_the_reconciler_asks_them_and_says_so_once() -> None:
    cluster, (first, second) = running()
    pods = [member(first, 0), member(first, 1, asked=0), member(second, 0), member(second, 1)]
    cluster.objects |= {("Pod", pod["metadata"]["name"]): pod for pod in pods}
    cluster.writes.clear()
    drive(cluster)
    drive(cluster)
    leader = f"Pod {pods[0]['metadata']['name']}"
    assert [target for verb, target in cluster.writes if verb == "delete"] == [leader]
    assert cluster.writes.count(("event", "GroupEnding")) == 1
