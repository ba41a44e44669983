"""etcd and NATS beside a deployment: no part of the rollout, there for as long as somebody uses them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from disagg_operator.reconcile.kinds import Object
from unit.reconcile.fake_cluster import MADE, FakeCluster, controlled_by, deployment
from unit.reconcile.test_reconciler import converge, drive

ETCD: dict[str, Any] = {"backend": "etcd", "etcd": {}}


def with_role(cluster: FakeCluster, kind: str, role: str) -> list[Object]:
    return [
        obj
        for (found, _), obj in cluster.objects.items()
        if found == kind and obj["metadata"]["labels"]["disagg.dev/role"] == role
    ]


def test_a_deployment_with_etcd_and_nats_becomes_complete() -> None:
    cluster = FakeCluster(deployment(discovery={**ETCD, "nats": {}}))
    converge(cluster)
    assert cluster.condition("Progressing")["reason"] == "Complete"
    assert len(with_role(cluster, "StatefulSet", "etcd")) == 1
    assert len(with_role(cluster, "StatefulSet", "nats")) == 1
    assert cluster.resource
    assert cluster.resource["status"]["roles"]["prefill"]["replicas"] == 1


def test_a_new_deployment_says_that_etcd_is_not_ready_and_why() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    drive(cluster)
    name = with_role(cluster, "StatefulSet", "etcd")[0]["metadata"]["name"]
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    labels = {"disagg.dev/role": "etcd", "disagg.dev/service": name, "disagg.dev/deployment": "demo"}
    cluster.objects["Pod", f"{name}-0"] = {
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-0",
            "namespace": "models",
            "labels": labels,
            "ownerReferences": [controlled_by(cluster.objects["StatefulSet", name])],
        },
        "status": {"containerStatuses": [{"name": "etcd", "state": {"waiting": waiting}}]},
    }
    drive(cluster)
    for kind in ("Available", "Progressing"):
        condition = cluster.condition(kind)
        assert condition["reason"] == "DiscoveryNotReady"
        assert "etcd: 0 of 1 members ready." in condition["message"]
        assert "ImagePullBackOff" in condition["message"]


def test_an_etcd_that_fails_while_requests_are_served_is_told_of() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    converge(cluster)
    with_role(cluster, "StatefulSet", "etcd")[0]["status"]["readyReplicas"] = 0
    drive(cluster)
    available = cluster.condition("Available")
    assert available["status"] == "True"
    assert available["message"] == "Requests are served. etcd: 0 of 1 members ready."
    assert cluster.condition("Progressing")["reason"] == "DiscoveryNotReady"


def test_a_rollout_does_not_touch_etcd() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    converge(cluster)
    (before,) = with_role(cluster, "StatefulSet", "etcd")
    cluster.edit(decode={"engineConfig": {"kv_cache": {"block_tokens": 32}}})
    converge(cluster)
    (after,) = with_role(cluster, "StatefulSet", "etcd")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert len(with_role(cluster, "StatefulSet", "decode")) == 1


def test_the_old_etcd_goes_after_the_last_worker_that_registers_in_it() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    converge(cluster)
    (old,) = with_role(cluster, "StatefulSet", "etcd")
    cluster.edit(discovery={"etcd": {"storage": {"size": "1Gi"}}})
    seen = []
    for _ in range(10):
        drive(cluster)
        workers = len(with_role(cluster, "StatefulSet", "decode"))
        alive = ("StatefulSet", old["metadata"]["name"]) in cluster.objects
        going = (
            alive
            and "deletionTimestamp" in cluster.objects["StatefulSet", old["metadata"]["name"]]["metadata"]
        )
        seen.append((workers, alive and not going))
        cluster.settle()
    assert seen[0] == (2, True), "both revisions, both etcds"
    assert all(alive for workers, alive in seen if workers == 2)
    assert seen[-1] == (1, False)
    assert len(with_role(cluster, "StatefulSet", "etcd")) == 1
    assert len(with_role(cluster, "Service", "etcd")) == 2


def go_on(cluster: FakeCluster, frontend: Object) -> None:
    """Let Kubernetes work, but leave the frontends as they are."""
    cluster.settle()
    cluster.objects["Deployment", "demo-frontend"]["status"] = frontend
    drive(cluster)


def going(cluster: FakeCluster, workers: Object) -> bool:
    """Tell whether workers were deleted."""
    return workers["metadata"]["name"] not in cluster.names("StatefulSet")


def test_pods_of_the_old_etcd_hold_the_new_one_up_by_nothing() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD), with_pods=True)
    converge(cluster)
    cluster.edit(discovery={"etcd": {"storage": {"size": "1Gi"}}})
    drive(cluster)
    assert len(with_role(cluster, "StatefulSet", "etcd")) == 2
    cluster.settle()
    assert len({pod["metadata"]["name"] for pod in with_role(cluster, "Pod", "etcd")}) > 1


def test_workers_stay_until_no_frontend_looks_for_them_in_the_old_etcd() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    converge(cluster)
    (old,) = with_role(cluster, "StatefulSet", "decode")
    cluster.edit(discovery={"etcd": {"storage": {"size": "1Gi"}}})
    drive(cluster)
    one = {"readyReplicas": 1, "availableReplicas": 1}
    stages = [
        {"replicas": 1, "updatedReplicas": 1, "observedGeneration": 1, **one},
        # Once the new revision serves, they look into the new etcd.
        {"replicas": 2, "updatedReplicas": 1, "observedGeneration": 2, **one},
    ]
    for stage in stages:
        go_on(cluster, stage)
        assert not going(cluster, old), stage
    assert "frontend: 1 of 1 changed over." in cluster.condition("Progressing")["message"]
    # Its container still answers the requests that it was sent.
    labels = {"disagg.dev/role": "frontend", "disagg.dev/deployment": "demo"}
    ending = {"name": "demo-frontend-1", "labels": labels, "ownerReferences": [{"uid": "none"}]}
    due = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    cluster.objects["Pod", "demo-frontend-1"] = {
        "kind": "Pod",
        "metadata": ending | {"deletionTimestamp": due},
    }
    last = {"replicas": 1, "updatedReplicas": 1, "observedGeneration": 2, **one}
    go_on(cluster, last)
    assert not going(cluster, old)
    del cluster.objects["Pod", "demo-frontend-1"]
    go_on(cluster, last)
    assert going(cluster, old)


def test_a_frontend_on_a_lost_node_holds_no_rollout_up_for_ever() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    converge(cluster)
    labels = {"disagg.dev/role": "frontend", "disagg.dev/deployment": "demo"}
    lost = {"name": "demo-frontend-1", "labels": labels, "ownerReferences": [{"uid": "none"}]}
    lost["deletionTimestamp"] = MADE
    cluster.objects["Pod", "demo-frontend-1"] = {"kind": "Pod", "metadata": lost}
    cluster.edit(discovery={"etcd": {"storage": {"size": "1Gi"}}})
    converge(cluster)
    assert len(with_role(cluster, "StatefulSet", "decode")) == 1
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_taking_a_change_of_etcd_back_keeps_the_workers_that_the_frontends_know() -> None:
    cluster = FakeCluster(deployment(discovery=ETCD))
    converge(cluster)
    (first,) = with_role(cluster, "StatefulSet", "decode")
    cluster.edit(discovery={"etcd": {"storage": {"size": "1Gi"}}})
    drive(cluster)
    (second,) = [
        obj
        for obj in with_role(cluster, "StatefulSet", "decode")
        if obj["metadata"]["uid"] != first["metadata"]["uid"]
    ]
    # The frontend changes over, and then no new worker has been ready for long enough any more.
    cluster.settle()
    drive(cluster)
    second_now = cluster.objects["StatefulSet", second["metadata"]["name"]]
    second_now["status"]["availableReplicas"] = 0
    drive(cluster)
    assert cluster.resource
    cluster.resource["spec"]["discovery"] = ETCD
    cluster.edit()
    drive(cluster)
    assert not going(cluster, second), "the frontends are still theirs"
    converge(cluster)
    (left,) = with_role(cluster, "StatefulSet", "decode")
    assert left["metadata"]["uid"] == first["metadata"]["uid"]


def test_leaving_etcd_takes_all_of_it_away_and_gives_the_workers_their_rights() -> None:
    spec = {"backend": "etcd", "etcd": {"replicas": 3, "storage": {"size": "1Gi"}}}
    cluster = FakeCluster(deployment(discovery=spec))
    converge(cluster)
    assert len(with_role(cluster, "PodDisruptionBudget", "etcd")) == 1
    assert not cluster.names("RoleBinding")
    assert cluster.resource
    cluster.resource["spec"]["discovery"] = {"backend": "kubernetes"}
    cluster.edit()
    converge(cluster)
    for kind in ("StatefulSet", "Service", "PodDisruptionBudget"):
        assert not with_role(cluster, kind, "etcd")
    assert len(cluster.names("RoleBinding")) == 1


def test_what_no_worker_uses_goes_though_etcd_runs() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    assert cluster.names("RoleBinding")
    cluster.edit(discovery=ETCD)
    converge(cluster)
    assert not cluster.names("RoleBinding")
    assert with_role(cluster, "StatefulSet", "etcd")
