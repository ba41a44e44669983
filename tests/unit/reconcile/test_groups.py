"""Pod groups of several nodes: made, counted, scaled, rolled and started anew as wholes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from disagg_operator.reconcile.groups.restarts import RESTART_REASON, RESTARTED_AT, RESTARTS, restarts
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import observe
from unit.reconcile.fake_cluster import FakeCluster, controlled_by, deployment, refusal
from unit.reconcile.test_reconciler import converge, drive, drive_on, reconciler

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GPUS = {"parallelism": {"tensor": 2}}
SEVERAL = {"replicas": 2, "nodesPerReplica": 2, "parallelism": {"tensor": 4}}


def several(**spec: Any) -> FakeCluster:
    """Return a deployment of TensorRT-LLM with decode on two nodes an instance."""
    model = {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}}
    return FakeCluster(
        deployment(
            **{
                "model": model,
                "platform": "aws-p5.48xlarge",
                "runtime": {"engine": "trtllm"},
                "prefill": dict(GPUS),
                "decode": dict(SEVERAL),
                **spec,
            }
        )
    )


def groups(cluster: FakeCluster) -> set[str]:
    """Return the numbers of decode's groups, those on their way out included."""
    return {
        obj["metadata"]["labels"]["disagg.dev/group"]
        for (kind, _), obj in cluster.objects.items()
        if kind == "StatefulSet" and "disagg.dev/group" in obj["metadata"]["labels"]
    }


def decode(cluster: FakeCluster) -> Object:
    assert cluster.resource
    found: Object = cluster.resource["status"]["roles"]["decode"]
    return found


def test_groups_are_made_and_counted_as_wholes() -> None:
    cluster = several()
    converge(cluster)
    assert groups(cluster) == {"0", "1"}
    assert decode(cluster) | {"selector": ""} == {
        "replicas": 2,
        "readyReplicas": 2,
        "updatedReplicas": 2,
        "desiredReplicas": 2,
        "ready": "2/2",
        "selector": "",
    }
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_a_group_that_lacks_a_pod_is_not_ready() -> None:
    cluster = several()
    converge(cluster)
    name = next(name for name in cluster.names("StatefulSet") if name.endswith("-1"))
    cluster.objects["StatefulSet", name]["status"]["readyReplicas"] = 1
    drive(cluster)
    assert decode(cluster)["ready"] == "1/2"
    assert cluster.condition("Available")["message"] == (
        "Requests are served, but 1 of 2 decode replicas are ready."
    )


def test_scaling_adds_and_removes_the_newest_groups_and_touches_no_other() -> None:
    cluster = several()
    converge(cluster)
    uids = {address: obj["metadata"]["resourceVersion"] for address, obj in cluster.objects.items()}
    cluster.edit(decode={"replicas": 4})
    converge(cluster)
    assert groups(cluster) == {"0", "1", "2", "3"}
    cluster.edit(decode={"replicas": 1})
    converge(cluster)
    assert groups(cluster) == {"0"}
    assert decode(cluster)["ready"] == "1/1"
    kept = {address: obj["metadata"]["resourceVersion"] for address, obj in cluster.objects.items()}
    # What evictions must leave depends on how many there are.
    del kept["PodDisruptionBudget", "demo-decode"]
    assert kept.items() <= uids.items()


def test_scaling_to_nothing_and_back() -> None:
    cluster = several()
    converge(cluster)
    cluster.edit(decode={"replicas": 0})
    converge(cluster)
    assert groups(cluster) == set()
    assert cluster.condition("Progressing")["reason"] == "Complete"
    assert cluster.condition("Available")["reason"] == "ScaledToZero"
    cluster.edit(decode={"replicas": 1})
    converge(cluster)
    assert cluster.condition("Available")["status"] == "True"


def test_a_rollout_keeps_the_old_groups_until_the_new_ones_serve() -> None:
    cluster = several()
    converge(cluster)
    old = cluster.names("StatefulSet")
    cluster.healthy = lambda name: name in old or name.endswith("-frontend")
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 5, "a quarter more of two groups is one"
    assert cluster.condition("Progressing")["reason"] == "RolloutInProgress"
    assert cluster.condition("Available")["status"] == "True"
    cluster.healthy = lambda _: True
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 3
    assert not old & cluster.names("StatefulSet")


def test_the_key_is_made_before_the_pods_and_only_once() -> None:
    cluster = several()
    drive(cluster)
    order = [name for _, name in cluster.writes]
    (secret,) = cluster.secrets.values()
    name = secret["metadata"]["name"]
    groups = name.removesuffix("-ssh")
    config = groups.replace("-decode-", "-worker-")
    assert order.index(f"ConfigMap {config}") < order.index(f"Secret {name}")
    assert order.index(f"Secret {name}") < order.index(f"StatefulSet {groups}-0")
    key = secret["stringData"]["ssh-privatekey"]
    assert key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert secret["stringData"]["ssh-publickey"].startswith("ssh-ed25519 ")
    converge(cluster)
    assert [found["stringData"]["ssh-privatekey"] for found in cluster.secrets.values()] == [key]
    (owner,) = secret["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.objects["ConfigMap", config]["metadata"]["uid"]


def test_a_key_that_went_with_a_namesake_is_made_again_while_a_pod_waits_for_it() -> None:
    cluster = several()
    converge(cluster)
    group = first_group(cluster)
    (address,) = cluster.secrets
    old = cluster.secrets.pop(address)
    converge(cluster)
    assert not cluster.secrets, "no pod misses it"
    waiting = pod_of(group, 0)
    waiting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    with_pods(cluster, waiting)
    assert drive(cluster).again == 10, "the key is offered again soon"
    assert cluster.secrets[address]["stringData"] != old["stringData"]
    made = cluster.secrets[address]
    drive(cluster)
    assert cluster.secrets[address] is made
    with_pods(cluster, pod_of(group, 0))
    assert drive(cluster).again is None, "a pod that runs has found it"


def test_a_key_is_not_offered_by_every_reconcile_while_a_pod_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = several()
    converge(cluster)
    waiting = pod_of(first_group(cluster), 0)
    waiting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    with_pods(cluster, waiting)
    offered: list[str] = []
    create_once = cluster.create_once

    async def offer(obj: Object) -> bool:
        offered.append(obj["kind"])
        return await create_once(obj)

    monkeypatch.setattr(cluster, "create_once", offer)
    now = NOW
    monkeypatch.setattr("disagg_operator.reconcile.reconciler.timestamp", lambda: now)
    one = reconciler(cluster)
    for seconds, count, again in ((0, 1, 10), (1, 1, 9), (9, 1, 1), (10, 2, 10), (11, 2, 9), (5, 3, 10)):
        now = NOW + timedelta(seconds=seconds)
        assert drive_on(one, cluster).again == again, f"after {seconds} s"
        assert offered == ["Secret"] * count, f"after {seconds} s"
    # What goes with a new owner was not offered yet.
    (config,) = (obj for (kind, _), obj in cluster.objects.items() if kind == "ConfigMap")
    config["metadata"]["uid"] = "of-another"
    drive_on(one, cluster)
    assert offered == ["Secret"] * 4


def test_a_key_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    cluster = several()

    def refuse(verb: str, _: Object) -> None:
        if verb == "create":
            raise refusal(403)

    cluster.before_write = refuse
    with pytest.raises(Exception, match="refused to create Secret demo-decode-"):
        drive(cluster)
    cluster.before_write = lambda *_: None
    converge(cluster)
    assert cluster.secrets
    assert "created Secret demo-decode-" in caplog.text
    assert cluster.resource
    for text in (caplog.text, str(cluster.resource), str(cluster.writes)):
        assert "PRIVATE" not in text
        assert "ssh-ed25519" not in text


def test_an_annotation_asks_for_another_key_by_a_rollout() -> None:
    cluster = several()
    converge(cluster)
    assert cluster.resource
    cluster.resource["metadata"]["annotations"] = {"disagg.dev/ssh-key": "again"}
    converge(cluster)
    assert cluster.condition("Progressing")["reason"] == "Complete"
    one, other = (found["stringData"]["ssh-privatekey"] for found in cluster.secrets.values())
    assert one != other


def ready(since: datetime | None) -> Object:
    status = "False" if since is None else "True"
    changed = (since or NOW).isoformat()
    return {"type": "Ready", "status": status, "lastTransitionTime": changed}


def pod_of(
    group: Object,
    rank: int,
    ended: datetime | None = None,
    since: datetime | None = None,
    *,
    node: bool = True,
) -> Object:
    """Return a pod of a group: when its container ended last, and since when it is ready."""
    container: Object = {
        "name": "worker",
        "ready": since is not None,
        "restartCount": 0,
        "state": {"running": {}},
    }
    if ended is not None:
        terminated = {"finishedAt": ended.isoformat(), "reason": "OOMKilled", "exitCode": 137}
        container |= {"restartCount": 1, "lastState": {"terminated": terminated}}
    scheduled = {"type": "PodScheduled", "status": "True" if node else "False", "message": "0/1 nodes"}
    name = f"{group['metadata']['name']}-{rank}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-of-{name}",
            "labels": {
                **group["spec"]["template"]["metadata"]["labels"],
                "apps.kubernetes.io/pod-index": str(rank),
            },
            "ownerReferences": [controlled_by(group)],
        },
        "status": {"conditions": [scheduled, ready(since)], "containerStatuses": [container]},
    }


def first_group(cluster: FakeCluster) -> Object:
    name = next(name for name in cluster.names("StatefulSet") if name.endswith("-0"))
    return cluster.objects["StatefulSet", name]


def found(group: Object, *pods: Object, now: datetime = NOW) -> list[tuple[int, datetime]]:
    """Return number and time of the restarts that these pods ask for."""
    return [(restart.number, restart.due) for restart in restarts(observe([group, *pods]), now)]


@pytest.fixture
def group() -> Object:
    cluster = several()
    converge(cluster)
    return first_group(cluster)


EARLIER, LATER = NOW - timedelta(seconds=30), NOW - timedelta(seconds=10)


def test_a_group_whose_rank_died_is_started_anew_at_once(group: Object) -> None:
    assert found(group, pod_of(group, 0), pod_of(group, 1, ended=EARLIER)) == [(1, NOW)]
    assert found(group, pod_of(group, 0, since=EARLIER), pod_of(group, 1, ended=LATER)) == [(1, NOW)]
    assert found(group, pod_of(group, 0, ended=EARLIER), pod_of(group, 1)) == [(1, NOW)]


def test_a_group_is_left_alone_while_nothing_died_or_once_it_serves_again(group: Object) -> None:
    assert not found(group, pod_of(group, 0), pod_of(group, 1))
    assert not found(group, pod_of(group, 0, since=LATER), pod_of(group, 1, ended=EARLIER))


def test_a_group_that_waits_for_a_pod_or_a_node_is_left_alone(group: Object) -> None:
    assert not found(group, pod_of(group, 0, ended=EARLIER))
    assert not found(group, pod_of(group, 0, ended=EARLIER), pod_of(group, 1, node=False))


def test_pauses_double_from_ten_seconds_to_five_minutes_and_begin_anew_after_ten_minutes(
    group: Object,
) -> None:
    dead = pod_of(group, 0, ended=NOW - timedelta(seconds=1)), pod_of(group, 1)
    now, pauses = NOW, []
    for _ in range(8):
        ((number, due),) = found(group, *dead, now=now)
        pauses.append((due - now).total_seconds())
        group["metadata"]["annotations"] |= {RESTARTS: str(number), RESTARTED_AT: due.isoformat()}
        now = due
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]
    late = now + timedelta(minutes=10, seconds=1)
    assert found(group, *dead, now=late) == [(1, late)]


@example({RESTARTS: "1", RESTARTED_AT: "2026-01-01T00:00:00"})
@given(st.dictionaries(st.sampled_from([RESTARTS, RESTARTED_AT, RESTART_REASON]), st.text(max_size=30)))
def test_annotations_that_somebody_spoilt_do_no_harm(annotations: dict[str, str]) -> None:
    cluster = several()
    drive(cluster)
    group = first_group(cluster)
    group["metadata"]["annotations"] |= annotations
    assert found(group, pod_of(group, 0, ended=EARLIER), pod_of(group, 1)) == [(1, NOW)]


def with_pods(cluster: FakeCluster, *pods: Object) -> None:
    for pod in pods:
        cluster.objects["Pod", pod["metadata"]["name"]] = pod


def test_a_restart_is_noted_first_and_then_takes_all_pods_of_the_group_and_no_other() -> None:
    cluster = several()
    converge(cluster)
    group = first_group(cluster)
    other = next(obj for name, obj in cluster.objects.items() if name[1].endswith("-1"))
    group["status"]["readyReplicas"] = 0
    with_pods(cluster, pod_of(group, 0), pod_of(group, 1, ended=datetime.now(UTC)))
    with_pods(cluster, pod_of(other, 0), pod_of(other, 1))
    name = group["metadata"]["name"]
    cluster.writes.clear()
    drive(cluster)
    assert cluster.writes[:4] == [
        ("annotate", f"StatefulSet {name}"),
        ("delete", f"Pod {name}-0"),
        ("delete", f"Pod {name}-1"),
        ("event", "GroupRestarted"),
    ]
    assert len(cluster.names("Pod")) == 2
    assert cluster.grace_seconds == {f"{name}-{index}": 30 for index in (0, 1)}, "a rank that hangs is killed"
    drive(cluster)
    message = cluster.condition("Progressing")["message"]
    assert "Pod group 0 was started anew (1 in a row, last at " in message
    assert f"because pod {name}-1 ended (OOMKilled, exit code 137)." in message


def test_an_operator_that_died_in_between_does_not_restart_twice_at_once() -> None:
    cluster = several()
    converge(cluster)
    group = first_group(cluster)
    group["status"]["readyReplicas"] = 0
    group["metadata"]["annotations"] |= {RESTARTS: "3", RESTARTED_AT: datetime.now(UTC).isoformat()}
    with_pods(cluster, pod_of(group, 0), pod_of(group, 1, ended=datetime.now(UTC)))
    cluster.writes.clear()
    drive(cluster)
    assert not [verb for verb, _ in cluster.writes if verb in ("annotate", "delete")]
    assert "Pod group 0 is started anew at " in cluster.condition("Progressing")["message"]


@pytest.mark.parametrize("died_after", [1, 2])
def test_an_operator_that_died_in_mid_restart_is_continued_at_once_and_counts_one_restart(
    died_after: int,
) -> None:
    """The next one finds the annotation, and a new pod beside one of before, with or without the dead one."""
    cluster = several()
    converge(cluster)
    group = first_group(cluster)
    group["status"]["readyReplicas"] = 0
    before = [pod_of(group, 0, ended=datetime.now(UTC)), pod_of(group, 1)]
    (restart,) = restarts(observe([group, *before]), datetime.now(UTC))
    group["metadata"]["annotations"] |= restart.annotations(datetime.now(UTC))
    there = [pod_of(group, 0), pod_of(group, 1)] if died_after > 1 else before
    if died_after > 1:
        there[0]["metadata"]["uid"] = "another"
    with_pods(cluster, *there)
    cluster.writes.clear()
    drive(cluster)
    name = group["metadata"]["name"]
    gone = [f"Pod {name}-1"] if died_after > 1 else [f"Pod {name}-0", f"Pod {name}-1"]
    assert [what for verb, what in cluster.writes if verb == "delete"] == gone
    assert not [verb for verb, _ in cluster.writes if verb == "annotate"]
    assert group["metadata"]["annotations"][RESTARTS] == "1"


def test_a_paused_deployment_restarts_nothing() -> None:
    cluster = several()
    converge(cluster)
    group = first_group(cluster)
    with_pods(cluster, pod_of(group, 0), pod_of(group, 1, ended=datetime.now(UTC)))
    assert cluster.resource
    cluster.resource["metadata"]["annotations"] = {"disagg.dev/paused": "true"}
    drive(cluster)
    assert len(cluster.names("Pod")) == 2


def test_a_refused_edit_does_not_keep_a_group_from_being_restarted() -> None:
    cluster = several()
    converge(cluster)
    group = first_group(cluster)
    with_pods(cluster, pod_of(group, 0), pod_of(group, 1, ended=datetime.now(UTC)))
    cluster.edit(decode={"replicas": -1})
    drive(cluster)
    assert cluster.condition("Accepted")["status"] == "False"
    assert not cluster.names("Pod")
