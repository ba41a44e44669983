"""Rollouts on the fake cluster: in steps, paused, failing, taken up again, and with operators that die."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.verification.verifier import VerificationResult
from unit.reconcile.fake_cluster import MADE, Crash, FakeCluster, controlled_by, deployment
from unit.reconcile.test_reconciler import converge, drive

Sizes = dict[str, int]


def sizes(cluster: FakeCluster, revision: str) -> Sizes:
    """Return the instances that each role of a revision is to have."""
    found: Sizes = {}
    for (kind, _), obj in cluster.objects.items():
        labels = obj["metadata"]["labels"]
        if kind != "StatefulSet" or labels.get("disagg.dev/revision") != revision:
            continue
        replicas = obj["spec"]["replicas"]
        count = int(replicas > 0) if "disagg.dev/group" in labels else replicas
        found[labels["disagg.dev/role"]] = found.get(labels["disagg.dev/role"], 0) + count
    return found


def revisions(cluster: FakeCluster) -> set[str]:
    """Return the revisions of which there are StatefulSets."""
    return {
        obj["metadata"]["labels"]["disagg.dev/revision"]
        for (kind, _), obj in cluster.objects.items()
        if kind == "StatefulSet"
    }


def serving(prefill: int = 4, decode: int = 2, **spec: Any) -> tuple[FakeCluster, str]:
    """Return a deployment that serves, and its revision."""
    resource = deployment(prefill={"replicas": prefill}, decode={"replicas": decode}, **spec)
    cluster = FakeCluster(resource)
    converge(cluster)
    (revision,) = revisions(cluster)
    return cluster, revision


def begun(cluster: FakeCluster, old: str, *, healthy: bool = True, **edit: Object) -> str:
    """Change the image, reconcile once, and return the new revision."""
    cluster.healthy = lambda name: healthy or old in name or name.endswith("-frontend")
    cluster.edit(runtime={"image": "worker:2"}, **edit)
    drive(cluster)
    (new,) = revisions(cluster) - {old}
    return new


def status(cluster: FakeCluster) -> Object:
    assert cluster.resource
    found: Object = cluster.resource["status"]
    return found


def later(cluster: FakeCluster, seconds: float) -> None:
    """Let the last progress be so long ago, in the operator's spelling: another is put right at once."""
    written = datetime.now(UTC) - timedelta(seconds=seconds)
    status(cluster)["rollout"]["progressTime"] = written.isoformat().replace("+00:00", "Z")


def test_both_roles_go_over_in_steps_and_never_beyond_what_may_be_there() -> None:
    cluster, old = serving()
    new = begun(cluster, old)
    seen = [(sizes(cluster, new), sizes(cluster, old))]
    while cluster.condition("Progressing")["reason"] != "Complete":
        cluster.settle()
        drive(cluster)
        after = sizes(cluster, new), sizes(cluster, old)
        seen += [after] if after != seen[-1] else []
        assert len(seen) < 20
    assert seen == [
        ({"prefill": 1, "decode": 1}, {"prefill": 4, "decode": 2}),
        ({"prefill": 1, "decode": 1}, {"prefill": 3, "decode": 1}),
        ({"prefill": 2, "decode": 2}, {"prefill": 3, "decode": 1}),
        ({"prefill": 2, "decode": 2}, {"prefill": 2, "decode": 1}),
        ({"prefill": 3, "decode": 2}, {"prefill": 2, "decode": 1}),
        ({"prefill": 3, "decode": 2}, {"prefill": 1, "decode": 1}),
        ({"prefill": 4, "decode": 2}, {"prefill": 1, "decode": 1}),
        ({"prefill": 4, "decode": 2}, {}),
    ]
    assert "rollout" not in status(cluster)


def frontend_container(cluster: FakeCluster) -> Object:
    pod = cluster.objects["Deployment", "demo-frontend"]["spec"]["template"]["spec"]
    found: Object = pod["containers"][0]
    return found


def scope(cluster: FakeCluster) -> str:
    """Return where frontends look for workers: in a revision, or in all of the deployment by its name."""
    frontend = frontend_container(cluster)
    command = [*frontend["command"], *frontend.get("args", [])]
    found: str = command[command.index("--namespace-prefix") + 1]
    return found.rpartition("-")[2]


def test_frontends_go_from_the_old_revision_to_both_and_on_to_the_new_one_before_the_old_one_ends() -> None:
    cluster, old = serving(2, 2)
    assert scope(cluster) == old
    new = begun(cluster, old)
    seen = [scope(cluster)]
    while cluster.condition("Progressing")["reason"] != "Complete":
        before = scope(cluster)
        cluster.settle()
        drive(cluster)
        seen += [scope(cluster)] if scope(cluster) != seen[-1] else []
        assert before == new or all(count > 0 for count in sizes(cluster, old).values())
        assert before != old or sizes(cluster, old) == {"prefill": 2, "decode": 2}
    assert seen == [old, "demo", new]


@pytest.mark.parametrize(("workers", "reached"), [(1, ["new"]), (2, ["demo", "new"])])
def test_frontends_stay_as_they_are_until_the_new_revision_serves(workers: int, reached: list[str]) -> None:
    cluster, old = serving(workers, workers)
    first = old, frontend_container(cluster)["image"]
    new = begun(cluster, old)
    seen = [(scope(cluster), frontend_container(cluster)["image"])]
    assert "changed over" not in cluster.condition("Progressing")["message"], "none is to, yet"
    while cluster.condition("Progressing")["reason"] != "Complete":
        cluster.settle()
        drive(cluster)
        pods = scope(cluster), frontend_container(cluster)["image"]
        seen += [pods] if pods != seen[-1] else []
    assert seen == [first, *((new if where == "new" else where, "worker:2") for where in reached)]


def test_frontends_that_wait_for_a_new_revision_are_scaled_all_the_same() -> None:
    cluster, old = serving(1, 1)
    begun(cluster, old, healthy=False)
    before = frontend_container(cluster)
    cluster.edit(frontend={"replicas": 3})
    converge(cluster)
    assert cluster.objects["Deployment", "demo-frontend"]["spec"]["replicas"] == 3
    assert frontend_container(cluster) == before
    cluster.healthy = lambda _: True
    converge(cluster)
    assert frontend_container(cluster)["image"] == "worker:2"
    assert cluster.condition("Progressing")["reason"] == "Complete"


@pytest.mark.parametrize("why", ["none is ready", "paused", "given up"])
def test_frontends_wait_for_no_revision_where_that_helps_nobody(why: str) -> None:
    cluster, old = serving(1, 1, rollout={"paused": why == "paused", "progressDeadlineSeconds": 600})
    if why == "none is ready":
        cluster.objects["Deployment", "demo-frontend"]["status"]["readyReplicas"] = 0
    cluster.healthy = lambda name: old in name or name.endswith("-frontend")
    cluster.edit(runtime={"image": "worker:2"})
    drive(cluster)
    if why == "given up":
        assert frontend_container(cluster)["image"] != "worker:2"
        converge(cluster)
        later(cluster, 700)
        converge(cluster)
    assert (scope(cluster), frontend_container(cluster)["image"]) == (old, "worker:2")


def test_an_old_revision_stays_while_a_frontend_that_ends_may_still_need_it() -> None:
    cluster, old = serving(1, 1)
    cluster.objects["Pod", "demo-frontend-abc"] = {
        "kind": "Pod",
        "metadata": {
            "name": "demo-frontend-abc",
            "uid": "draining",
            "labels": {"disagg.dev/deployment": "demo", "disagg.dev/role": "frontend"},
            "creationTimestamp": MADE,
            "deletionTimestamp": datetime.now(UTC).isoformat(),
            "ownerReferences": [{"uid": "replica-set", "controller": True}],
        },
    }
    new = begun(cluster, old)
    converge(cluster)
    assert (scope(cluster), sizes(cluster, old)) == (new, {"prefill": 1, "decode": 1})
    later(cluster, 2 * 3600)
    drive(cluster)
    assert cluster.condition("Progressing")["reason"] != "ProgressDeadlineExceeded", "it is ready, and waits"
    del cluster.objects["Pod", "demo-frontend-abc"]
    converge(cluster)
    assert revisions(cluster) == {new}


def test_frontends_of_a_revision_that_fails_stay_with_the_old_one() -> None:
    cluster, old = serving(2, 2, rollout={"progressDeadlineSeconds": 600})
    begun(cluster, old, healthy=False)
    converge(cluster)
    assert scope(cluster) == old
    later(cluster, 700)
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    assert scope(cluster) == old


def test_decode_of_an_old_revision_outlives_the_last_prompt_in_its_prefill() -> None:
    cluster, old = serving(1, 1)
    worker = cluster.objects["StatefulSet", f"demo-prefill-{old}"]
    cluster.objects["Pod", f"demo-prefill-{old}-0"] = {
        "kind": "Pod",
        "metadata": {
            "name": f"demo-prefill-{old}-0",
            "uid": "draining",
            "labels": worker["spec"]["template"]["metadata"]["labels"],
            "creationTimestamp": MADE,
            "ownerReferences": [controlled_by(worker)],
        },
        "spec": {"nodeName": "node"},
    }
    begun(cluster, old)
    cluster.lingering = True
    for _ in range(5):
        cluster.settle()
        drive(cluster)
    assert f"demo-prefill-{old}" not in cluster.names("StatefulSet")
    assert f"demo-decode-{old}" in cluster.names("StatefulSet")
    cluster.lingering = False
    converge(cluster, 30)
    assert sizes(cluster, old) == {}
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_a_full_cluster_gives_up_one_instance_at_a_time() -> None:
    cluster, old = serving(rollout={"prefill": {"maxSurge": 0}, "decode": {"maxSurge": 0}})
    new = begun(cluster, old)
    assert sizes(cluster, new) == {"prefill": 0, "decode": 0}
    assert sizes(cluster, old) == {"prefill": 3, "decode": 1}
    converge(cluster, 30)
    assert revisions(cluster) == {new}


def test_one_instance_on_a_full_cluster_is_replaced() -> None:
    cluster, old = serving(1, 1, rollout={"prefill": {"maxSurge": 0}, "decode": {"maxSurge": 0}})
    new = begun(cluster, old)
    cluster.settle()
    drive(cluster)
    assert sizes(cluster, old) == {"prefill": 0, "decode": 0}
    converge(cluster, 30)
    assert revisions(cluster) == {new}
    assert cluster.condition("Available")["status"] == "True"


@pytest.mark.parametrize("write", range(12))
def test_an_operator_that_dies_at_any_write_of_a_rollout_changes_nothing(write: int, quiet: None) -> None:  # noqa: ARG001
    cluster, old = serving()
    cluster.edit(runtime={"image": "worker:2"})
    died = 0
    for _ in range(30):
        try:
            with cluster.dying(write if not died else None):
                drive(cluster)
        except Crash:
            died += 1
        for revision in revisions(cluster):
            found = sizes(cluster, revision)
            assert not all(found.values()) or min(found.values()) > 0
        cluster.settle()
    assert revisions(cluster).isdisjoint({old})
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_a_paused_rollout_stays_where_it_is_and_goes_on() -> None:
    cluster, old = serving()
    new = begun(cluster, old)
    for _ in ("ready", "known"):
        cluster.settle()
        drive(cluster)
    cluster.edit(rollout={"paused": True})
    converge(cluster)
    assert (sizes(cluster, new), sizes(cluster, old)) == (
        {"prefill": 1, "decode": 1},
        {"prefill": 3, "decode": 1},
    )
    assert cluster.condition("Progressing")["reason"] == "RolloutPaused"
    assert "kubectl disagg rollout resume NAME" in cluster.condition("Progressing")["message"]
    assert "rollout" not in status(cluster), "the deadline does not run"
    cluster.edit(rollout={"paused": False})
    converge(cluster, 30)
    assert revisions(cluster) == {new}


def test_what_is_changed_while_paused_starts_once_it_goes_on() -> None:
    cluster, old = serving(rollout={"paused": True})
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    assert revisions(cluster) == {old}
    cluster.edit(prefill={"replicas": 5})
    converge(cluster)
    assert sizes(cluster, old)["prefill"] == 4, "the old one is not scaled: it goes once this goes on"
    cluster.edit(rollout={"paused": False})
    converge(cluster, 40)
    assert old not in revisions(cluster)


def test_editing_back_takes_the_old_revision_up_where_it_is() -> None:
    cluster, old = serving()
    new = begun(cluster, old)
    for _ in range(3):
        cluster.settle()
        drive(cluster)
    assert sizes(cluster, old)["prefill"] < 4
    assert cluster.resource
    made = {name: obj["metadata"]["uid"] for (_, name), obj in cluster.objects.items() if old in name}
    cluster.edit(runtime={"image": "worker:1"})
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    assert sizes(cluster, old) == {"prefill": 4, "decode": 2}
    assert new not in revisions(cluster)
    assert {
        name: cluster.objects["StatefulSet", name]["metadata"]["uid"] for name in cluster.names("StatefulSet")
    }.items() <= made.items()


def test_a_revision_that_never_becomes_ready_is_given_up_and_the_old_one_restored() -> None:
    limits = {"maxSurge": 0}
    cluster, old = serving(rollout={"prefill": limits, "decode": limits, "progressDeadlineSeconds": 600})
    new = begun(cluster, old, healthy=False)
    converge(cluster)
    assert sizes(cluster, new) == {"prefill": 1, "decode": 1}
    later(cluster, 590)
    assert 0 < (drive(cluster).again or 0) <= 15, "it is looked at again when time is up"
    assert cluster.condition("Progressing")["reason"] == "RolloutInProgress"
    later(cluster, 601)
    drive(cluster)
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    assert sizes(cluster, old) == {"prefill": 4, "decode": 2}
    progressing = cluster.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert f"Revision {new} was given up, and revision {old} is restored." in progressing["message"]
    assert "No further instance became ready within 600 s." in progressing["message"]
    assert status(cluster)["revision"] == old
    cluster.healthy = lambda _: True
    cluster.edit(prefill={"replicas": 5})
    converge(cluster)
    assert (revisions(cluster), sizes(cluster, old)["prefill"]) == ({old}, 5), "scaling is not another try"


def given_up() -> tuple[FakeCluster, str, str]:
    cluster, old = serving(rollout={"progressDeadlineSeconds": 600})
    new = begun(cluster, old, healthy=False)
    converge(cluster)
    later(cluster, 601)
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    return cluster, old, new


def test_progress_puts_the_deadline_off() -> None:
    cluster, old = serving(rollout={"progressDeadlineSeconds": 600})
    new = begun(cluster, old, healthy=False)
    converge(cluster)
    later(cluster, 601)
    cluster.healthy = lambda _: True
    cluster.settle()
    drive(cluster)
    assert "failedReason" not in status(cluster)["rollout"]
    converge(cluster, 30)
    assert revisions(cluster) == {new}


def test_a_revision_that_was_given_up_is_tried_again_on_demand() -> None:
    cluster, _, new = given_up()
    cluster.healthy = lambda _: True
    converge(cluster)
    assert new not in revisions(cluster), "not by itself"
    assert cluster.resource
    cluster.resource["metadata"]["annotations"] = {"disagg.dev/rollout-retry": "now"}
    converge(cluster, 30)
    assert revisions(cluster) == {new}
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_another_revision_is_tried_after_one_that_was_given_up() -> None:
    cluster, old, new = given_up()
    cluster.healthy = lambda _: True
    cluster.edit(runtime={"image": "worker:3"})
    converge(cluster, 30)
    assert revisions(cluster).isdisjoint({old, new})
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_without_an_old_revision_nothing_is_given_up() -> None:
    cluster = FakeCluster(deployment(rollout={"progressDeadlineSeconds": 60}))
    cluster.healthy = lambda _: False
    converge(cluster)
    assert "rollout" not in status(cluster)
    assert cluster.condition("Progressing")["reason"] == "RolesNotReady"


def test_an_operator_that_dies_while_a_revision_is_given_up_changes_nothing() -> None:
    cluster, old = serving(rollout={"progressDeadlineSeconds": 600})
    begun(cluster, old, healthy=False)
    converge(cluster)
    later(cluster, 601)
    with pytest.raises(Crash), cluster.dying(0):
        drive(cluster)
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    assert sizes(cluster, old) == {"prefill": 4, "decode": 2}


def test_a_revision_whose_transport_is_refused_is_given_up_by_its_first_instances() -> None:
    cluster = FakeCluster(
        deployment(prefill={"replicas": 4}, decode={"replicas": 2}, verification={"mode": "Enforce"})
    )
    converge(cluster)
    (old,) = revisions(cluster)
    before = VerificationResult("True", "Verified", "As promised.", datetime.now(UTC))
    cluster.verifier.result = before
    status(cluster)["transport"] = {
        "revision": old,
        "verifiedRevision": old,
        "verified": "True",
        "reason": "Verified",
    }
    new = begun(cluster, old)
    converge(cluster, 5)
    assert (sizes(cluster, new), sizes(cluster, old)) == (
        {"prefill": 1, "decode": 1},
        {"prefill": 4, "decode": 2},
    ), "not proven, it gets no more"
    found = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    refused = {
        "revision": new,
        "verified": "False",
        "reason": "SlowerTransport",
        "message": "TCP.",
        "time": found,
    }
    status(cluster)["transport"] |= refused
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    progressing = cluster.condition("Progressing")
    assert (progressing["reason"], "TCP." in progressing["message"]) == ("VerificationFailed", True)


def test_groups_of_nodes_are_taken_down_highest_first_and_restored() -> None:
    limits = {"maxSurge": 0, "maxUnavailable": 1}
    cluster = FakeCluster(
        deployment(
            runtime={"engine": "trtllm", "version": "1.3.1", "image": "worker:1"},
            prefill={"replicas": 1},
            decode={"replicas": 3, "nodesPerReplica": 2, "parallelism": {"tensor": 2}},
            rollout={"decode": limits, "progressDeadlineSeconds": 600},
        )
    )
    converge(cluster)
    (old,) = revisions(cluster)
    new = begun(cluster, old, healthy=False)
    converge(cluster)
    assert sizes(cluster, old)["decode"] == 2
    parked = cluster.objects["StatefulSet", f"demo-decode-{old}-2"]
    assert parked["spec"]["replicas"] == 0
    assert sizes(cluster, new) == {"prefill": 1, "decode": 1}
    later(cluster, 601)
    converge(cluster, 30)
    assert revisions(cluster) == {old}
    assert cluster.objects["StatefulSet", f"demo-decode-{old}-2"]["spec"]["replicas"] == 2
    assert cluster.condition("Progressing")["reason"] == "ProgressDeadlineExceeded"
