"""Pod groups on a real API server with the real StatefulSet controller, but no node."""

import base64
import secrets
from typing import Any

import pytest

from integration.operator.control_plane import (
    Api,
    Deployed,
    Object,
    OperatorProcess,
    deployment,
    ended_once,
    eventually,
)

pytestmark = pytest.mark.apiserver

NOW = "2026-01-01T00:00:00Z"


class Groups(Deployed):
    """A deployment of TensorRT-LLM whose decode instances have two nodes each."""

    def create(self, **spec: Any) -> None:
        """Create it; further fields replace those of the specification."""
        resource = deployment(
            self.name,
            **{
                "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
                "platform": "aws-p5.48xlarge",
                "runtime": {"engine": "trtllm"},
                "prefill": {"parallelism": {"tensor": 8}},
                "decode": {"replicas": 2, "nodesPerReplica": 2, "parallelism": {"tensor": 16}},
                **spec,
            },
        )
        self.api.create("disaggdeployments", self.namespace, resource)

    def sets(self) -> dict[str, Object]:
        """Return decode's StatefulSets by group."""
        found = self.find("statefulsets", "decode")
        return {obj["metadata"]["labels"]["disagg.dev/group"]: obj for obj in found}

    def pods(self, group: str) -> dict[str, str]:
        """Return the pods of a group that are not being deleted: uids by index."""
        return {
            pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"]: pod["metadata"]["uid"]
            for pod in self.find("pods", "decode")
            if pod["metadata"]["labels"]["disagg.dev/group"] == group
            and "deletionTimestamp" not in pod["metadata"]
        }


@pytest.fixture
def demo(api: Api, shared_namespace: str, operator: OperatorProcess) -> Groups:  # noqa: ARG001 - it runs
    """A deployment of the test's own, not yet created, with an operator that waits for it."""
    return Groups(api, shared_namespace, f"demo-{secrets.token_hex(2)}")


def test_groups_are_made_served_and_counted_as_wholes(demo: Groups) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    assert set(demo.sets()) == {"0", "1"}
    assert demo.status()["roles"]["decode"]["ready"] == "2/2"
    assert set(demo.pods("0")) == set(demo.pods("1")) == {"0", "1"}
    for pod in demo.find("pods", "decode"):
        variables = {each["name"]: each for each in pod["spec"]["containers"][0]["env"]}
        path = variables["DISAGG_NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
        assert path == "metadata.labels['apps.kubernetes.io/pod-index']"
        assert pod["spec"]["subdomain"] == f"demo-decode-{demo.status()['revision']}-all".replace(
            "demo", demo.name, 1
        )


def test_one_key_for_each_revision_is_made_and_kept(demo: Groups) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    (secret,) = demo.find("secrets")
    assert secret["type"] == "kubernetes.io/ssh-auth"
    key = base64.b64decode(secret["data"]["ssh-privatekey"]).decode()
    assert key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    demo.edit(decode={"replicas": 3})
    demo.wait_for("Progressing", "Complete")
    assert [found["metadata"]["uid"] for found in demo.find("secrets")] == [secret["metadata"]["uid"]]
    demo.patch({"metadata": {"annotations": {"disagg.dev/ssh-key": "another"}}})
    eventually(lambda: demo.status()["revision"] != demo.status()["updateRevision"], "a rollout began")
    demo.wait_for("Progressing", "Complete")

    def only_the_new_one() -> bool:
        found = demo.find("secrets")
        return len(found) == 1 and found[0]["data"] != secret["data"]

    eventually(only_the_new_one, "the old key has gone with its pods")


def test_scaling_adds_and_removes_the_highest_groups_and_keeps_the_pods_of_the_others(demo: Groups) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    before = demo.pods("0")
    demo.edit(decode={"replicas": 3})
    demo.wait_for("Progressing", "Complete")
    eventually(lambda: set(demo.sets()) == {"0", "1", "2"}, "there are three groups")
    demo.edit(decode={"replicas": 1})
    eventually(lambda: set(demo.sets()) == {"0"}, "only the first group is left")
    assert demo.pods("0") == before


def test_a_rollout_replaces_all_groups_after_the_new_ones_serve(demo: Groups) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    old = {obj["metadata"]["name"] for obj in demo.sets().values()}
    demo.edit(runtime={"image": "disagg.local/worker:two"})
    demo.wait_for("Progressing", "RolloutInProgress", unless="-decode-")
    eventually(lambda: len(demo.find("statefulsets", "decode")) == 3, "a quarter more of two groups is there")
    assert demo.condition("Available")["status"] == "True"
    demo.wait_for("Progressing", "Complete")
    eventually(lambda: len(demo.find("statefulsets", "decode")) == 2, "the old groups are gone")
    assert not old & {obj["metadata"]["name"] for obj in demo.sets().values()}


def test_on_a_full_cluster_a_group_gives_its_place_up_and_comes_back_where_the_new_revision_fails(
    demo: Groups,
) -> None:
    limits = {"maxSurge": 0}
    demo.create(rollout={"prefill": limits, "decode": limits, "progressDeadlineSeconds": 30})
    demo.wait_for("Progressing", "Complete")
    old = demo.status()["revision"]
    before = {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in demo.sets().values()}
    kept = demo.pods("0")
    demo.edit(prefill={"replicas": 2})
    demo.wait_for("Progressing", "Complete")
    demo.edit(runtime={"image": "disagg.local/worker:two"})
    eventually(lambda: demo.status()["updateRevision"] != old, "there is another revision")
    new = demo.status()["updateRevision"]

    def pods_asked() -> dict[str, int]:
        found = demo.find("statefulsets", "decode")
        return {obj["metadata"]["name"]: obj["spec"]["replicas"] for obj in found}

    last = f"{demo.name}-decode-{old}-1"
    eventually(
        lambda: pods_asked().get(last) == 0,
        "the highest group gives its place up",
        meanwhile=lambda: demo.make_ready(f"-{new}-"),
    )
    demo.wait_for("Progressing", "ProgressDeadlineExceeded", unless=f"-{new}-")
    eventually(
        lambda: pods_asked() == dict.fromkeys(before, 2),
        "the old groups are restored, and the new ones gone",
        meanwhile=lambda: demo.make_ready(f"-{new}-"),
    )
    assert {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in demo.sets().values()} == before
    assert demo.pods("0") == kept, "the other group served all the time"
    assert demo.status()["revision"] == old
    demo.edit(runtime={"image": None})
    demo.wait_for("Progressing", "Complete")
    assert demo.status()["updateRevision"] == old


def test_a_scheduler_of_gangs_that_is_not_there_harms_nothing_that_runs(demo: Groups) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    before = demo.pods("0")
    demo.edit(placement={"gang": {"scheduler": "KAI"}})
    demo.wait_for("Progressing", "PlatformNotReady")
    ready = demo.condition("PlatformReady")
    assert ready["reason"] == "GangSchedulerMissing"
    assert "helm install kai-scheduler" in ready["message"]
    assert len(demo.sets()) == 2
    assert demo.pods("0") == before
    demo.edit(placement={"gang": {"scheduler": "None"}})
    demo.wait_for("Progressing", "Complete")
    assert demo.pods("0") == before


def test_a_dead_rank_restarts_its_group_and_no_other(demo: Groups) -> None:
    demo.create()
    eventually(lambda: len(demo.pods("0")) == len(demo.pods("1")) == 2, "all pods are there")
    before = {group: demo.pods(group) for group in ("0", "1")}
    demo.make_ready(unless=f"{demo.sets()['0']['metadata']['name']}-")
    name = f"{demo.sets()['0']['metadata']['name']}-0"
    scheduled = {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW}]}
    demo.api.patch("pods", demo.namespace, name, {"status": scheduled}, "/status")
    name = f"{demo.sets()['0']['metadata']['name']}-1"
    demo.api.patch("pods", demo.namespace, name, ended_once(NOW), "/status")

    def all_new() -> bool:
        now = demo.pods("0")
        return len(now) == 2 and not set(now.values()) & set(before["0"].values())

    eventually(all_new, "both pods of the group are new")
    assert demo.pods("1") == before["1"]
    annotations = demo.sets()["0"]["metadata"]["annotations"]
    assert annotations["disagg.dev/group-restarts"] == "1"
    eventually(
        lambda: (
            f"because pod {name} ended (OOMKilled, exit code 137)."
            in demo.condition("Progressing")["message"]
        ),
        "the status says why",
    )
    events = [event["reason"] for event in demo.api.find("events", demo.namespace)]
    assert "GroupRestarted" in events
    demo.wait_for("Progressing", "Complete")


def test_deleting_leaves_nothing_not_even_the_key(demo: Groups) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    demo.api.delete("disaggdeployments", demo.namespace, demo.name)
    eventually(lambda: not any(demo.children().values()), "everything is gone")
    eventually(
        lambda: not demo.find("pods") and not demo.find("secrets"), "pods and key are gone", seconds=40
    )
