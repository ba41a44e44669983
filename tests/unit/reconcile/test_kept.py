"""Another version of the operator plans other pods: it keeps those that are there, until it is asked."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.build.deployment import frontend_deployment
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.rollout.reach import reaching
from disagg_operator.platforms.catalogue import Catalogue, builtin
from disagg_operator.reconcile.applying.kept import keeps_frontend, kept
from disagg_operator.reconcile.applying.once import owner_of
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed
from unit.reconcile.fake_cluster import FakeCluster, deployment
from unit.reconcile.test_reconciler import INSTALLATION, converge, drive


def newer() -> Catalogue:
    """Return profiles as a later version may have them: every release sets a further variable."""
    known = builtin()
    releases = copy.deepcopy(dict(known.runtime_documents))
    further = {"name": "DYN_SYSTEM_NEWER", "value": "1", "reason": "A test.", "source": "a test"}
    for document in releases.values():
        if "version" in document:
            document["environment"] = [*document.get("environment", []), further]
    return Catalogue(known.machine_documents, known.fabric_documents, releases)


NEWER = Installation("worker:1", catalogue=newer())

SHAPES: dict[str, dict[str, Any]] = {
    "single": {},
    "groups": {"prefill": {"nodesPerReplica": 2}, "decode": {"replicas": 2, "nodesPerReplica": 2}},
    "registered": {"discovery": {"backend": "etcd"}, "frontend": {"replicas": 2}},
    "listed": {
        "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
        "platform": "generic",
        "runtime": {"engine": "trtllm", "frontend": "trtllm-serve", "version": "1.4.0rc1"},
        "prefill": {"parallelism": {"tensor": 1}},
        "decode": {"parallelism": {"tensor": 1}},
        "verification": {"mode": "Off"},
    },
}
EVERY_SHAPE = pytest.mark.parametrize("spec", SHAPES.values(), ids=list(SHAPES))


def upgraded(cluster: FakeCluster, installation: Installation = NEWER, rounds: int = 30) -> None:
    """Let another version of the operator work until it has nothing to do."""
    for _ in range(rounds):
        cluster.settle()
        cluster.writes.clear()
        drive(cluster, installation)
        if not cluster.writes:
            return
    raise AssertionError(f"still writing after {rounds} rounds: {cluster.writes}")


def pods(cluster: FakeCluster) -> dict[str, tuple[str, Object]]:
    """Return uid and pod template of all that makes pods."""
    return {
        name: (obj["metadata"]["uid"], obj["spec"]["template"])
        for (kind, name), obj in cluster.objects.items()
        if kind in {"StatefulSet", "Deployment"}
    }


def files(cluster: FakeCluster) -> dict[str, Object]:
    return {name: obj["data"] for (kind, name), obj in cluster.objects.items() if kind == "ConfigMap"}


def behind(cluster: FakeCluster) -> Object:
    """Return condition UpToDate, or nothing where it is not there."""
    assert cluster.resource
    conditions = cluster.resource["status"]["conditions"]
    return next((each for each in conditions if each["type"] == "UpToDate"), {})


def with_variable(cluster: FakeCluster) -> None:
    """Edit the specification so that pods change."""
    assert cluster.resource
    cluster.resource["spec"]["env"] = [{"name": "EDITED", "value": "1"}]
    cluster.resource["metadata"]["generation"] += 1


def asked_for(cluster: FakeCluster) -> None:
    """Ask for the pods of the version that runs."""
    assert cluster.resource
    cluster.resource["metadata"].setdefault("annotations", {})["disagg.dev/replan"] = "now"


def serving(spec: dict[str, Any]) -> FakeCluster:
    cluster = FakeCluster(deployment(**spec))
    converge(cluster, 20)
    assert cluster.condition("Progressing")["reason"] == "Complete"
    return cluster


def newly_made(spec: dict[str, Any]) -> FakeCluster:
    cluster = FakeCluster(deployment(**spec))
    upgraded(cluster)
    return cluster


@EVERY_SHAPE
def test_the_other_version_plans_other_pods(spec: dict[str, Any]) -> None:
    """Otherwise the tests below would show nothing."""
    one, other = pods(serving(spec)), pods(newly_made(spec))
    assert not {name for name in one if "-decode-" in name} & set(other)
    (frontend,) = [name for name in one if name.endswith("-frontend")]
    assert one[frontend][1] != other[frontend][1]


@EVERY_SHAPE
def test_an_upgrade_restarts_nothing_and_says_so(spec: dict[str, Any]) -> None:
    cluster = serving(spec)
    before, read = pods(cluster), files(cluster)
    upgraded(cluster)
    assert (pods(cluster), files(cluster)) == (before, read)
    assert cluster.condition("Progressing")["reason"] == "Complete"
    said = behind(cluster)
    assert (said["status"], said["reason"]) == ("False", "PlannedByOtherVersion")
    assert "workers and frontends" in said["message"]
    assert "kubectl disagg rollout update" in said["message"]


@EVERY_SHAPE
def test_a_downgrade_restarts_nothing_either(spec: dict[str, Any]) -> None:
    cluster = newly_made(spec)
    before = pods(cluster)
    upgraded(cluster, INSTALLATION)
    assert pods(cluster) == before


def test_the_same_version_keeps_nothing_back() -> None:
    cluster = serving({})
    assert behind(cluster) == {}


def test_frontends_are_marked_alike_whichever_workers_they_reach() -> None:
    """Those that begin with all revisions are of the version of those that go on with the new one."""
    own = planned()
    then = frontend_deployment(own)
    live = reaching_all(own)
    assert not keeps_frontend(own, live)
    assert kept([then], own, live)[0]["spec"] == then["spec"]


def test_kept_frontends_are_told_other_workers_by_their_command_alone() -> None:
    one, other = planned(), planned(NEWER)
    live = reaching_all(one)
    assert keeps_frontend(other, live)
    (then,) = kept([frontend_deployment(other)], other, live)
    assert then["spec"] == frontend_deployment(reaching(one, other.revision))["spec"]


def planned(installation: Installation = INSTALLATION) -> Plan:
    """Return a plan with a container beside the frontend that has no command of its own."""
    beside = {"name": "proxy", "image": "proxy:1"}
    frontend = {"podTemplate": {"spec": {"containers": [{"name": "frontend"}, beside]}}}
    return plan(accept(deployment(frontend=frontend)), installation)


def reaching_all(own: Plan) -> Observed:
    """Return what is there once the frontends of a plan send requests to all revisions."""
    every = reaching(own, None)
    (frontends,) = kept([frontend_deployment(every)], every, Observed({}, ()))
    return Observed({("Deployment", "demo-frontend"): frontends}, ())


Change = Callable[[FakeCluster], None]


@pytest.mark.parametrize("change", [with_variable, asked_for])
@EVERY_SHAPE
def test_the_next_edit_or_a_request_replaces_them(spec: dict[str, Any], change: Change) -> None:
    cluster = serving(spec)
    before = pods(cluster)
    upgraded(cluster)
    change(cluster)
    upgraded(cluster)
    assert not {name for name in before if "-decode-" in name} & set(pods(cluster))
    assert str(pods(cluster)).count("DYN_SYSTEM_NEWER") >= 3
    assert behind(cluster) == {}
    assert cluster.condition("Progressing")["reason"] == "Complete"


@EVERY_SHAPE
def test_scaling_and_what_changes_no_pod_keep_them(spec: dict[str, Any]) -> None:
    cluster = serving(spec)
    before = {name for name in pods(cluster) if "-decode-" in name}
    upgraded(cluster)
    cluster.edit(
        decode={**spec.get("decode", {}), "replicas": 3},
        rollout={"progressDeadlineSeconds": 77},
        frontend={**spec.get("frontend", {}), "replicas": 3},
        drain={"maxUnavailable": 2},
    )
    upgraded(cluster)
    after = pods(cluster)
    assert before <= set(after)
    assert "DYN_SYSTEM_NEWER" not in str(after)
    assert cluster.condition("Available")["status"] == "True"
    assert behind(cluster)["status"] == "False"


def test_a_further_pod_group_is_like_those_beside_it() -> None:
    cluster = serving(SHAPES["groups"])
    upgraded(cluster)
    cluster.edit(decode={"replicas": 3, "nodesPerReplica": 2})
    upgraded(cluster)
    like = FakeCluster(
        deployment(prefill={"nodesPerReplica": 2}, decode={"replicas": 3, "nodesPerReplica": 2})
    )
    converge(like, 20)
    of_group = {name: template for name, (_, template) in pods(cluster).items()}
    assert of_group == {name: template for name, (_, template) in pods(like).items()}


def test_kept_frontends_list_the_workers_that_are_there() -> None:
    cluster = serving(SHAPES["listed"])
    upgraded(cluster)
    cluster.edit(decode={"parallelism": {"tensor": 1}, "replicas": 3})
    upgraded(cluster)
    (file,) = [data["orchestrator.yaml"] for name, data in files(cluster).items() if "-frontend-" in name]
    assert file.count("\n  - demo-decode-") == 3
    assert "DYN_SYSTEM_NEWER" not in str(pods(cluster))


def test_a_rollout_under_way_goes_on_to_the_pods_that_it_began_with() -> None:
    cluster = serving({"decode": {"replicas": 4}, "prefill": {"replicas": 4}})
    old = set(pods(cluster))
    with_variable(cluster)
    for _ in range(3):
        drive(cluster)
        cluster.settle()
    begun = {name for name in pods(cluster) if "-decode-" in name} - old
    assert begun
    upgraded(cluster)
    assert {name for name in pods(cluster) if "-decode-" in name} == begun
    assert "DYN_SYSTEM_NEWER" not in str(pods(cluster))
    assert cluster.condition("Progressing")["reason"] == "Complete"


@pytest.mark.parametrize("kind", ["ConfigMap", "Service"])
def test_workers_of_which_a_part_is_gone_are_replaced(kind: str) -> None:
    cluster = serving({})
    upgraded(cluster)
    (lost,) = [name for name in cluster.names(kind) if "-worker-" in name]
    del cluster.objects[kind, lost]
    upgraded(cluster)
    assert behind(cluster).get("message", "").count("workers") == 0
    assert cluster.condition("Available")["status"] == "True"


def test_a_key_goes_with_the_config_map_of_its_workers_whoever_made_it() -> None:
    def made(kind: str, role: str, revision: str) -> Object:
        labels = {"disagg.dev/role": role, "disagg.dev/revision": revision}
        metadata = {"name": f"{role}-{revision}", "labels": labels}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata}

    # Older versions made a ConfigMap for each role.
    maps = [made("ConfigMap", *each) for each in (("prefill", "a"), ("decode", "a"), ("worker", "b"))]
    there = {("ConfigMap", each["metadata"]["name"]): each for each in maps}
    assert owner_of(made("Secret", "decode", "a"), there) == maps[1]
    assert owner_of(made("Secret", "decode", "b"), there) == maps[2]


def test_a_profile_of_the_installation_is_an_input() -> None:
    cluster = serving({})
    before = pods(cluster)
    mine = builtin().with_profiles(
        {"local": {"environment": [{"name": "MINE", "value": "1", "reason": "r", "source": "s"}]}}
    )
    upgraded(cluster, Installation("worker:1", catalogue=mine))
    assert not {name for name in before if "-decode-" in name} & set(pods(cluster))


def test_another_image_of_the_installation_is_an_input() -> None:
    cluster = serving({})
    upgraded(cluster, Installation("worker:2"))
    assert "worker:1" not in str(pods(cluster))
