"""A model that is fetched into a cache: workers wait for it, and the status says how it stands."""

import json
from dataclasses import replace
from typing import Any

import pytest

from disagg_operator.reconcile.kinds import Object
from unit.reconcile.fake_cluster import SURROUNDINGS, FakeCluster, controlled_by, deployment
from unit.reconcile.test_reconciler import converge, drive

CLAIM: dict[str, Any] = {"persistentVolumeClaim": {"claimName": "models"}}
NODE: dict[str, Any] = {"node": {"path": "/var/lib/models"}}


def model(revision: str = "v1", cache: dict[str, Any] = CLAIM) -> dict[str, Any]:
    hub = {"repository": "acme/tiny", "revision": revision, "cache": cache}
    return {"name": "m", "source": {"huggingFace": hub}}


def of_kind(cluster: FakeCluster, kind: str) -> list[Object]:
    return [obj for (found, _), obj in cluster.objects.items() if found == kind]


def ended(reason: str, says: str, code: int) -> Object:
    return {
        "exitCode": code,
        "reason": "Error",
        "message": json.dumps({"download": {"reason": reason, "says": says}}),
    }


def with_pod(cluster: FakeCluster, job: str, **container: Any) -> None:
    """Let the Job's pod be as told."""
    labels = {
        "disagg.dev/deployment": "demo",
        "disagg.dev/role": "model",
        "batch.kubernetes.io/job-name": job,
    }
    cluster.objects["Pod", f"{job}-x"] = {
        "kind": "Pod",
        "metadata": {
            "name": f"{job}-x",
            "namespace": "ns",
            "labels": labels,
            "ownerReferences": [controlled_by(cluster.objects["Job", job])],
        },
        "status": {"containerStatuses": [{"name": "fetch-model", **container}]},
    }


def complete(cluster: FakeCluster) -> None:
    for job in of_kind(cluster, "Job"):
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}


def test_workers_wait_until_the_model_is_there() -> None:
    cluster = FakeCluster(deployment(model=model()))
    drive(cluster)
    (job,) = of_kind(cluster, "Job")
    assert not of_kind(cluster, "StatefulSet")
    assert cluster.condition("Progressing")["reason"] == "WaitingForModel"
    assert cluster.condition("ModelReady")["reason"] == "DownloadPending"
    with_pod(cluster, job["metadata"]["name"], state={"waiting": {"reason": "ContainerCreating"}})
    drive(cluster)
    assert "kubectl describe pod demo-model-" in cluster.condition("ModelReady")["message"]
    complete(cluster)
    with_pod(
        cluster,
        job["metadata"]["name"],
        state={"terminated": ended("Fetched", "acme/tiny (v1): 3 files.", 0)},
    )
    converge(cluster)
    assert len(of_kind(cluster, "StatefulSet")) == 2
    found = cluster.condition("ModelReady")
    assert (found["status"], found["reason"]) == ("True", "Fetched")
    assert found["message"] == "acme/tiny (v1): 3 files. In PersistentVolumeClaim models."
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_a_deployment_without_a_cache_has_no_such_condition() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    assert cluster.resource
    assert "ModelReady" not in {each["type"] for each in cluster.resource["status"]["conditions"]}


def test_progress_is_read_from_the_log_while_it_runs() -> None:
    cluster = FakeCluster(deployment(model=model()))
    drive(cluster)
    name = of_kind(cluster, "Job")[0]["metadata"]["name"]
    with_pod(cluster, name, state={"running": {}})
    cluster.logs[f"{name}-x"] = "16 % fetched: 1.2 GB of 7.6 GB, 110.0 MB/s"
    outcome = drive(cluster)
    found = cluster.condition("ModelReady")
    assert (found["status"], found["reason"]) == ("False", "DownloadRunning")
    assert "16 % fetched: 1.2 GB of 7.6 GB, 110.0 MB/s" in found["message"]
    assert found["message"] == cluster.condition("Progressing")["message"]
    assert outcome is None or outcome.again == 10


@pytest.mark.parametrize("reason", ["ModelGated", "NoSpace", "RevisionNotFound", "HubUnreachable"])
def test_a_refusal_stays_told_while_it_is_tried_again(reason: str) -> None:
    cluster = FakeCluster(deployment(model=model()))
    drive(cluster)
    name = of_kind(cluster, "Job")[0]["metadata"]["name"]
    last = {"terminated": ended(reason, "Do this.", 1)}
    states: list[dict[str, Any]] = [{"waiting": {"reason": "CrashLoopBackOff"}}, {"running": {}}]
    for state in states:
        with_pod(cluster, name, state=state, lastState=last)
        drive(cluster)
        found = cluster.condition("ModelReady")
        assert (found["status"], found["reason"], found["message"]) == ("False", reason, "Do this.")
    cluster.logs[f"{name}-x"] = "1 % fetched: 1.0 MB of 100.0 MB, 1.0 MB/s"
    drive(cluster)
    assert cluster.condition("ModelReady")["reason"] == "DownloadRunning"


def test_a_download_that_was_killed_says_how() -> None:
    cluster = FakeCluster(deployment(model=model()))
    drive(cluster)
    name = of_kind(cluster, "Job")[0]["metadata"]["name"]
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "16 % fetched"}}
    with_pod(cluster, name, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=killed)
    drive(cluster)
    found = cluster.condition("ModelReady")
    assert found["reason"] == "DownloadFailed"
    assert "OOMKilled" in found["message"]


@pytest.mark.parametrize("strategy", ["Surge", "Recreate"])
def test_the_old_model_serves_until_the_new_one_is_there(strategy: str) -> None:
    cluster = FakeCluster(deployment(model=model(), rollout={"strategy": strategy}))
    drive(cluster)
    complete(cluster)
    converge(cluster)
    old = {obj["metadata"]["name"] for obj in of_kind(cluster, "StatefulSet")}
    cluster.edit(model=model("v2"))
    for _ in range(3):
        drive(cluster)
    assert {obj["metadata"]["name"] for obj in of_kind(cluster, "StatefulSet")} == old
    assert all(obj["spec"]["replicas"] for obj in of_kind(cluster, "StatefulSet"))
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Progressing")["reason"] == "WaitingForModel"
    complete(cluster)
    converge(cluster)
    assert not old & {obj["metadata"]["name"] for obj in of_kind(cluster, "StatefulSet")}
    assert len(of_kind(cluster, "Job")) == 1


def test_a_job_is_written_once() -> None:
    cluster = FakeCluster(deployment(model=model()))
    drive(cluster)
    complete(cluster)
    converge(cluster)
    of_kind(cluster, "Job")[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "of-an-older-operator"
    cluster.writes.clear()
    drive(cluster)
    assert not cluster.writes


def test_a_node_that_fetches_is_told_and_nothing_waits_for_it() -> None:
    cluster = FakeCluster(deployment(model=model(cache=NODE)))
    drive(cluster)
    assert not of_kind(cluster, "Job")
    sets = of_kind(cluster, "StatefulSet")
    assert len(sets) == 2
    says = "acme/tiny is gated."
    for index, obj in enumerate(sets):
        state: dict[str, Any] = {"running": {}} if index else {"waiting": {"reason": "CrashLoopBackOff"}}
        last: dict[str, Any] = {} if index else {"lastState": {"terminated": ended("ModelGated", says, 1)}}
        cluster.objects["Pod", f"{obj['metadata']['name']}-0"] = {
            "kind": "Pod",
            "metadata": {
                "name": f"{obj['metadata']['name']}-0",
                "namespace": "ns",
                "labels": obj["metadata"]["labels"],
                "ownerReferences": [controlled_by(obj)],
            },
            "status": {"initContainerStatuses": [{"name": "fetch-model", "state": state, **last}]},
        }
    drive(cluster)
    found = cluster.condition("ModelReady")
    assert (found["reason"], found["message"]) == ("ModelGated", says)
    assert f"cannot fetch its model. {says}" in cluster.condition("Available")["message"]


def test_a_namespace_that_allows_no_hostpath_gets_no_worker_with_one() -> None:
    enforced = replace(SURROUNDINGS, enforced="baseline")
    cluster = FakeCluster(deployment(model=model(cache=NODE)), surroundings=enforced)
    drive(cluster)
    found = cluster.condition("PlatformReady")
    assert (found["status"], found["reason"]) == ("False", "PodSecurity")
    assert "hostPath volume model" in found["message"]
    assert not of_kind(cluster, "StatefulSet")
    shared = FakeCluster(deployment(model=model()), surroundings=enforced)
    drive(shared)
    assert shared.condition("PlatformReady")["status"] == "True"
