"""What only looks like a deployment's is neither counted nor touched."""

from typing import Any

import pytest

from disagg_operator.reconcile.applying.ownership import owned, refuse_taken
from disagg_operator.reconcile.errors import BlockedError, RetrySoonError, TakenError
from disagg_operator.reconcile.kinds import Key, Object
from unit.reconcile.fake_cluster import MADE, FakeCluster, controlled_by, deployment
from unit.reconcile.test_reconciler import converge, drive

KEY = Key("ns", "demo")
OURS = {"kind": "DisaggDeployment", "name": "demo", "uid": "uid-of-demo", "controller": True}
OTHER = {"kind": "Deployment", "name": "theirs", "uid": "other", "controller": True}


def made(kind: str, name: str, owner: Object | None = None, **metadata: Any) -> Object:
    references = {} if owner is None else {"ownerReferences": [owner]}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-of-{name}",
            "labels": {"disagg.dev/deployment": "demo"},
            **references,
            **metadata,
        },
    }


WORKER = made("StatefulSet", "demo-decode-1", OURS)


@pytest.mark.parametrize(
    ("child", "counts"),
    [
        (made("StatefulSet", "a", OURS), True),
        (made("StatefulSet", "a", OTHER), False),
        (made("StatefulSet", "a", {**OURS, "uid": "of-a-namesake-before"}), False),
        (made("StatefulSet", "a", {**OURS, "controller": False}), False),
        (made("StatefulSet", "a"), False),
        (made("StatefulSet", "a", {**OURS, "uid": "of-a-namesake-before"}, deletionTimestamp=MADE), True),
        (made("Pod", "demo-decode-1-0", controlled_by(WORKER)), True),
        (made("Pod", "demo-decode-1-0", {**controlled_by(WORKER), "uid": "another"}), False),
        (made("Pod", "copy", None), False),
        (made("Pod", "copy", None, deletionTimestamp=MADE), True),
        (
            made(
                "Pod", "demo-frontend-5c8f-x", {**OTHER, "kind": "ReplicaSet", "name": "demo-frontend-5c8f"}
            ),
            True,
        ),
        (made("Pod", "web-5c8f-x", {**OTHER, "kind": "ReplicaSet", "name": "web-5c8f"}), False),
        # The cache of StatefulSets may be behind that of pods.
        (made("Pod", "demo-decode-2-0", {**OTHER, "kind": "StatefulSet", "name": "demo-decode-2"}), True),
        (made("Pod", "db-0", {**OTHER, "kind": "StatefulSet", "name": "db"}), False),
        (made("Pod", "demo-decode-1-0", {**OTHER, "kind": "DaemonSet", "name": "demo-decode-1"}), False),
    ],
)
def test_an_object_is_ours_by_its_controller_and_not_by_its_labels(child: Object, counts: bool) -> None:
    assert (child in owned([WORKER, child], KEY, "uid-of-demo")) == counts


def test_pods_of_a_workload_that_only_bears_our_label_are_not_ours() -> None:
    stranger = made("StatefulSet", "demo-decode-2", OTHER)
    pod = made("Pod", "demo-decode-2-0", controlled_by(stranger))
    assert owned([stranger, pod], KEY, "uid-of-demo") == []


@pytest.mark.parametrize("found", [None, made("Service", "a", OURS, labels={})])
def test_what_is_gone_or_ours_without_its_labels_may_be_applied(found: Object | None) -> None:
    refuse_taken(made("Service", "a", OURS), found)


def test_what_is_ours_and_not_in_the_cache_yet_is_waited_for() -> None:
    """What was decided on is an old state: writing by it might take pods away."""
    with pytest.raises(RetrySoonError, match="does not show it yet"):
        refuse_taken(made("Service", "a", OURS), made("Service", "a", OURS))


def test_what_is_somebody_elses_is_named_with_whose_it_is() -> None:
    with pytest.raises(TakenError, match=r"of Deployment theirs \(uid other\).*Delete or rename it"):
        refuse_taken(made("Service", "a", OURS), made("Service", "a", OTHER))
    with pytest.raises(TakenError, match="nobody's"):
        refuse_taken(made("Service", "a", OURS), made("Service", "a"))


def test_a_namesake_that_is_on_its_way_out_is_waited_for() -> None:
    with pytest.raises(RetrySoonError):
        refuse_taken(made("Service", "a", OURS), made("Service", "a", OTHER, deletionTimestamp=MADE))


def test_a_name_that_is_taken_is_told_and_left_and_the_rest_goes_on_once_it_is_free() -> None:
    cluster = FakeCluster(deployment())
    theirs = made("Service", "demo-frontend") | {"spec": {"selector": {"app": "theirs"}}}
    cluster.objects["Service", "demo-frontend"] = theirs
    with pytest.raises(BlockedError):
        drive(cluster)
    assert cluster.objects["Service", "demo-frontend"] == theirs
    progressing = cluster.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "Blocked")
    assert (
        "Could not apply Service demo-frontend: there is one of this name already" in progressing["message"]
    )
    del cluster.objects["Service", "demo-frontend"]
    converge(cluster)
    assert (
        cluster.objects["Service", "demo-frontend"]["metadata"]["ownerReferences"][0]["uid"] == "uid-of-demo"
    )


def test_strangers_with_our_labels_are_not_scaled_deleted_or_counted() -> None:
    cluster = FakeCluster(deployment(decode={"replicas": 2}))
    converge(cluster)
    before = cluster.condition("Available")
    (name,) = [name for name in cluster.names("StatefulSet") if "-decode-" in name]
    real = cluster.objects["StatefulSet", name]
    for kind in ("StatefulSet", "ConfigMap", "Deployment"):
        stranger = made(kind, f"stranger-{kind.lower()}")
        stranger["metadata"]["labels"] = dict(real["metadata"]["labels"]) | {"disagg.dev/revision": "old"}
        stranger |= {"spec": {"replicas": 7, "template": real["spec"]["template"]}, "status": {}}
        cluster.objects[kind, stranger["metadata"]["name"]] = stranger
    theirs = {at: dict(obj) for at, obj in cluster.objects.items() if at[1].startswith("stranger")}
    cluster.writes.clear()
    drive(cluster)
    assert cluster.writes == []
    assert {at: obj for at, obj in cluster.objects.items() if at in theirs} == theirs
    assert cluster.condition("Available") == before
