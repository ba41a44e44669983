"""A deployment with a ComputeDomain: made before its workers, never changed, gone after the last of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.reconcile.computedomain.standing import Reason
from disagg_operator.reconcile.errors import BlockedError, RetrySoonError
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.preflight.snapshot import Node, node_of
from unit.reconcile.fake_cluster import MADE, Crash, FakeCluster, FakeDriver, deployment, refusal
from unit.reconcile.test_reconciler import converge, drive

DOMAIN, TEMPLATE = "demo-compute-domain", "demo-compute-domain-channel"
FINALIZER = "disagg.dev/compute-domain"
TRAY: dict[str, Any] = {"gpusPerNode": 4, "parallelism": {"tensor": 4}}
UID_LABEL = "resource.nvidia.com/computeDomain"
LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat()


DOCS = Path(__file__).parents[3] / "docs" / "gb200.md"


def rack(driver: FakeDriver | None = None, decode: int | dict[str, Any] = 2, **spec: Any) -> FakeCluster:
    """A GB200 rack with one deployment: one prefill node and some decode nodes."""
    resource = deployment(
        model={"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
        platform=spec.pop("platform", "gb200-nvl72"),
        runtime={"engine": "trtllm"},
        prefill=dict(TRAY),
        decode={**TRAY, "replicas": decode} if isinstance(decode, int) else decode,
        rollout={"strategy": "Recreate"},
        **spec,
    )
    return FakeCluster(resource, driver=driver or FakeDriver())


def foreign(name: str, template: str, **metadata: Any) -> Object:
    """A ComputeDomain that somebody else made."""
    made = {"name": name, "uid": f"uid-of-{name}", "creationTimestamp": MADE, **metadata}
    spec = {"numNodes": 4, "channel": {"resourceClaimTemplate": {"name": template}}}
    return {"kind": "ComputeDomain", "metadata": made, "spec": spec}


def domain(cluster: FakeCluster) -> Object:
    found: Object = cluster.objects["ComputeDomain", DOMAIN]
    return found


def finalizers(cluster: FakeCluster) -> list[str]:
    assert cluster.resource
    found: list[str] = cluster.resource["metadata"].get("finalizers", [])
    return found


def ready(cluster: FakeCluster) -> tuple[str, str]:
    condition = cluster.condition("ComputeDomainReady")
    return condition["status"], condition["reason"]


def message(cluster: FakeCluster) -> str:
    return str(cluster.condition("ComputeDomainReady")["message"])


def enter(cluster: FakeCluster, cliques: str = "rack.1", status: str = "Ready") -> None:
    """SIMULATED: the daemons enter the nodes of all pods into the domain, with cliques in turn."""
    made = cliques.split()
    pods = sorted(cluster.names("Pod"))
    domain(cluster)["status"] = {
        "status": "Ready",
        "nodes": [
            {"name": f"node-{pod}", "cliqueID": made[index % len(made)], "status": status}
            for index, pod in enumerate(pods)
        ],
    }


def test_the_domain_comes_before_the_workers_and_the_finalizer_before_the_domain() -> None:
    cluster = rack()
    drive(cluster)
    order = [(verb, name.split()[0]) for verb, name in cluster.writes if verb in ("apply", "finalizer")]
    assert order[:2] == [("finalizer", "DisaggDeployment"), ("apply", "ComputeDomain")]
    assert cluster.names("StatefulSet") == set()
    assert finalizers(cluster) == [FINALIZER]
    assert ready(cluster) == ("False", "BeingMade")
    assert cluster.condition("Progressing")["reason"] == "WaitingForComputeDomain"
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2
    assert domain(cluster)["spec"]["numNodes"] == 0
    assert "ownerReferences" not in domain(cluster)["metadata"]


def test_workers_wait_for_the_template_of_just_this_domain() -> None:
    driver = FakeDriver(domains={"other": foreign("other", TEMPLATE)})
    driver.work({})
    cluster = rack(driver)
    converge(cluster)
    assert ready(cluster) == ("False", "TemplateTaken")
    assert "ComputeDomain other" in message(cluster)
    assert cluster.names("ComputeDomain") == set(), "it would be called Ready and never get a template"
    assert cluster.names("StatefulSet") == set()
    driver.domains.clear()
    driver.templates.clear()
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2


def test_a_template_that_is_taken_behind_our_back_is_noticed() -> None:
    cluster = rack(FakeDriver(running=False))
    converge(cluster)
    assert ready(cluster) == ("False", "BeingMade")
    cluster.driver.templates[TEMPLATE] = {"metadata": {"name": TEMPLATE, "labels": {}}}
    converge(cluster)
    assert ready(cluster) == ("False", "TemplateTaken")
    assert cluster.names("StatefulSet") == set()


def test_a_name_that_is_taken_is_left_alone() -> None:
    owner = {"kind": "PodCliqueSet", "name": "theirs"}
    driver = FakeDriver(domains={DOMAIN: foreign(DOMAIN, TEMPLATE, ownerReferences=[owner])})
    cluster = rack(driver)
    converge(cluster)
    assert ready(cluster) == ("False", "NameTaken")
    assert "PodCliqueSet theirs" in message(cluster)
    assert cluster.names("ComputeDomain") == set()
    assert finalizers(cluster) == []


def test_without_the_driver_the_condition_says_what_to_install_and_nothing_is_tried() -> None:
    cluster = rack(FakeDriver(served=False))
    converge(cluster)
    assert ready(cluster) == ("False", "DriverMissing")
    assert "install NVIDIA's DRA driver" in message(cluster)
    assert finalizers(cluster) == []
    assert cluster.names("StatefulSet") == set()
    assert cluster.driver.asked == 0
    cluster.driver.served = True
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2


def test_without_the_rights_the_condition_says_so_and_nothing_is_tried() -> None:
    cluster = rack(FakeDriver(readable=False))
    converge(cluster)
    assert ready(cluster) == ("False", "SwitchedOff")
    assert "computeDomain.enabled=true" in message(cluster)
    assert cluster.names("StatefulSet") == set()


def test_the_schema_is_read_once_for_each_domain_that_is_made() -> None:
    cluster = rack(FakeDriver(num_nodes_required=True))
    converge(cluster)
    assert domain(cluster)["spec"]["numNodes"] == 3
    assert cluster.driver.asked == 1


def test_a_steady_domain_costs_no_write() -> None:
    cluster = rack()
    converge(cluster)
    enter(cluster)
    converge(cluster)
    cluster.writes.clear()
    drive(cluster)
    assert cluster.writes == []
    assert cluster.key in cluster.looked


def test_ready_means_that_all_nodes_are_in_and_reach_each_other() -> None:
    cluster = rack()
    converge(cluster)
    assert ready(cluster) == ("False", "NodesMissing"), "no node is in, though the driver calls it Ready"
    enter(cluster)
    converge(cluster)
    assert ready(cluster) == ("True", "Ready")
    assert cluster.resource
    assert cluster.resource["status"]["computeDomain"] == {
        "name": DOMAIN,
        "clique": "rack.1",
        "nodes": [
            {"name": f"node-{pod}", "clique": "rack.1", "ready": True} for pod in sorted(cluster.names("Pod"))
        ],
    }


@pytest.mark.parametrize(
    ("cliques", "status", "reason"),
    [
        ("rack.1 rack.2", "Ready", "SeveralCliques"),
        ("rack.1", "NotReady", "NodesNotReady"),
    ],
)
def test_nodes_that_do_not_reach_each_other_are_told(cliques: str, status: str, reason: str) -> None:
    cluster = rack()
    converge(cluster)
    enter(cluster, cliques, status)
    converge(cluster)
    assert ready(cluster) == ("False", reason)
    assert cluster.condition("Available")["status"] == "True", "it is told, and nothing waits for it"


def test_workers_that_began_in_too_small_a_clique_are_told_where_there_is_room() -> None:
    cluster = rack()
    trays = (tray("a", "rack.1"), *(tray(f"b{number}", "rack.2") for number in range(3)))
    cluster.surroundings = replace(cluster.surroundings, nodes=trays)
    converge(cluster)
    assert "rack" not in message(cluster), "no worker is anywhere yet"
    enter(cluster)
    del domain(cluster)["status"]["nodes"][1:]
    converge(cluster)
    assert ready(cluster) == ("False", "NodesMissing")
    assert message(cluster).endswith(
        "But clique rack.1 has no room for all workers, and these are in it already. Write "
        "spec.placement.nodeSelector: {nvidia.com/gpu.clique: rack.2}. They are made anew there."
    )
    domain(cluster)["status"]["nodes"][0]["cliqueID"] = "rack.2"
    converge(cluster)
    assert "room" not in message(cluster)


def tray(name: str, clique: str) -> Node:
    """A GB200 node."""
    labels = {"kubernetes.io/arch": "arm64", "nvidia.com/gpu.clique": clique}
    allocatable = {"cpu": "144", "memory": "900Gi", "nvidia.com/gpu": "4"}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    return node_of({"metadata": {"name": name, "labels": labels}, "status": status})


def test_where_kv_cache_crosses_efa_nvlink_is_to_span_each_instance_and_no_more() -> None:
    zone = {"topologyKey": "topology.kubernetes.io/zone"}
    large = {"nodesPerReplica": 2, "gpusPerNode": 4, "parallelism": {"tensor": 8}}
    cluster = rack(platform="aws-p6e-gb200.36xlarge", placement=zone, decode=large)
    converge(cluster)
    pods = sorted(cluster.names("Pod"))
    assert len(pods) == 3
    enter(cluster, "rack.1 rack.1 rack.2")
    converge(cluster)
    assert ready(cluster) == ("True", "Ready")
    assert message(cluster) == "NVLink spans the nodes of each model instance: 3 nodes in 2 cliques."
    enter(cluster, "rack.1 rack.2 rack.2")
    converge(cluster)
    assert ready(cluster) == ("False", "SeveralCliques")
    assert f"Pods of {pods[0].rpartition('-')[0]} are spread over cliques" in message(cluster)


def test_a_node_without_nvlink_is_told() -> None:
    cluster = rack()
    converge(cluster)
    enter(cluster)
    domain(cluster)["status"]["nodes"][0]["cliqueID"] = ""
    converge(cluster)
    assert ready(cluster) == ("False", "OutsideNvlink")


def test_nothing_is_claimed_of_a_domain_without_workers() -> None:
    cluster = rack(decode=0)
    cluster.edit(prefill={"replicas": 0})
    converge(cluster)
    assert ready(cluster) == ("Unknown", "ScaledToZero")


def test_scaling_touches_neither_the_domain_nor_the_pods() -> None:
    cluster = rack()
    converge(cluster)
    enter(cluster)
    pods, version = cluster.names("Pod"), domain(cluster)["metadata"]["resourceVersion"]
    cluster.edit(decode={"replicas": 3})
    converge(cluster)
    assert pods < cluster.names("Pod")
    assert domain(cluster)["metadata"]["resourceVersion"] == version
    assert ready(cluster) == ("False", "NodesMissing")
    enter(cluster)
    converge(cluster)
    assert ready(cluster) == ("True", "Ready")


def test_scaling_past_a_rack_is_refused_and_changes_nothing() -> None:
    cluster = rack()
    converge(cluster)
    enter(cluster)
    converge(cluster)
    before = {key: obj["metadata"].get("resourceVersion") for key, obj in cluster.objects.items()}
    cluster.edit(decode={"replicas": 18})
    converge(cluster)
    assert cluster.condition("Accepted")["reason"] == "InvalidSpec"
    assert "19 nodes" in cluster.condition("Accepted")["message"]
    assert {key: obj["metadata"].get("resourceVersion") for key, obj in cluster.objects.items()} == before
    assert ready(cluster) == ("True", "Ready"), "what runs still has its domain"
    assert cluster.resource
    assert len(cluster.resource["status"]["computeDomain"]["nodes"]) == 3


def test_what_cannot_change_is_refused_with_the_number_that_it_has() -> None:
    cluster = rack()
    converge(cluster)
    cluster.edit(computeDomain={"numNodes": 3})
    converge(cluster)
    accepted = cluster.condition("Accepted")
    assert accepted["status"] == "False"
    assert "spec.computeDomain.numNodes: the ComputeDomain was made with 0" in accepted["message"]
    assert domain(cluster)["spec"]["numNodes"] == 0


def test_a_domain_of_the_user_is_never_written() -> None:
    driver = FakeDriver(domains={"mine": foreign("mine", "my-claims")})
    cluster = rack(driver, computeDomain={"name": "mine"})
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2
    (pod, *_) = [obj for (kind, _), obj in cluster.objects.items() if kind == "Pod"]
    assert pod["spec"]["resourceClaims"][0]["resourceClaimTemplateName"] == "my-claims"
    assert finalizers(cluster) == []
    cluster.remove()
    assert cluster.resource is None
    assert "mine" in driver.domains


def test_a_domain_of_the_user_shows_the_nodes_of_the_workers_and_not_those_of_others() -> None:
    mine = foreign("mine", "my-claims")
    cluster = rack(FakeDriver(domains={"mine": mine}), computeDomain={"name": "mine"})
    converge(cluster)
    pods = sorted(cluster.names("Pod"))
    places = [*((f"node-{pod}", "rack.1") for pod in pods), ("node-of-others", "rack.2")]
    nodes = [{"name": name, "cliqueID": clique, "status": "Ready"} for name, clique in places]
    mine["status"] = {"status": "Ready", "nodes": nodes}
    converge(cluster)
    assert ready(cluster) == ("True", "Ready")
    assert cluster.resource
    shown = cluster.resource["status"]["computeDomain"]
    assert shown["clique"] == "rack.1"
    assert [node["name"] for node in shown["nodes"]] == [f"node-{pod}" for pod in pods]


def test_a_domain_of_the_user_that_is_missing_is_waited_for_and_harms_nothing_that_runs() -> None:
    cluster = rack(computeDomain={"name": "mine"})
    converge(cluster)
    assert ready(cluster) == ("False", "DomainMissing")
    assert cluster.names("StatefulSet") == set()
    cluster.driver.domains["mine"] = foreign("mine", "my-claims")
    converge(cluster)
    running = cluster.names("StatefulSet")
    assert len(running) == 2
    cluster.driver.domains.clear()
    cluster.driver.templates.clear()
    converge(cluster)
    assert cluster.names("StatefulSet") == running
    assert ready(cluster) == ("False", "DomainMissing")
    assert cluster.condition("Available")["status"] == "True"


def test_going_over_to_the_users_domain_removes_ours_after_its_last_pod() -> None:
    cluster = rack()
    converge(cluster)
    cluster.driver.domains["mine"] = foreign("mine", "my-claims")
    cluster.driver.work(cluster.objects)
    cluster.lingering = True
    cluster.edit(computeDomain={"name": "mine"})
    for _ in range(3):
        drive(cluster)
        cluster.settle()
    assert cluster.names("ComputeDomain") == {DOMAIN}
    assert "deletionTimestamp" not in domain(cluster)["metadata"]
    cluster.lingering = False
    converge(cluster)
    assert cluster.names("ComputeDomain") == set()
    assert finalizers(cluster) == []
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_a_domain_that_is_switched_off_goes_after_the_pods_that_use_it() -> None:
    cluster = rack()
    converge(cluster)
    cluster.edit(computeDomain={"enabled": False})
    converge(cluster)
    assert cluster.names("ComputeDomain") == set()
    assert finalizers(cluster) == []
    assert cluster.resource
    assert "ComputeDomainReady" not in {each["type"] for each in cluster.resource["status"]["conditions"]}
    assert "computeDomain" not in cluster.resource["status"]
    assert cluster.key not in cluster.looked


def leave(cluster: FakeCluster, rounds: int = 10) -> list[str]:
    """Reconcile a deployment that is being deleted; return the writes in their order."""
    order = []
    for _ in range(rounds):
        cluster.writes.clear()
        drive(cluster)
        order += [
            f"{verb} {name.split()[0]}" for verb, name in cluster.writes if verb in ("delete", "finalizer")
        ]
        if cluster.resource is None:
            break
        cluster.settle()
    return order


def test_workers_go_first_then_the_domain_then_the_deployment() -> None:
    cluster = rack()
    converge(cluster)
    cluster.lingering = True
    cluster.remove()
    assert leave(cluster, 3) == ["delete StatefulSet", "delete StatefulSet"]
    assert "deletionTimestamp" not in domain(cluster)["metadata"]
    assert cluster.condition("Progressing")["reason"] == "Deleting"
    assert "Still there: demo-" in cluster.condition("Progressing")["message"]
    cluster.lingering = False
    cluster.settle()
    assert leave(cluster) == ["delete ComputeDomain", "finalizer DisaggDeployment"]
    assert cluster.resource is None
    assert cluster.names("ComputeDomain") == set()


def test_a_driver_that_is_gone_holds_a_deployment_up_for_a_while_only() -> None:
    cluster = rack()
    converge(cluster)
    cluster.driver.running = False
    cluster.remove()
    leave(cluster, 5)
    assert finalizers(cluster) == [FINALIZER]
    assert "NVIDIA's driver is taking" in cluster.condition("Progressing")["message"]
    domain(cluster)["metadata"]["deletionTimestamp"] = LONG_AGO
    leave(cluster)
    assert cluster.resource is None
    assert ("event", "ComputeDomainLeftBehind") in cluster.writes


def test_a_pod_on_a_lost_node_holds_a_deployment_up_for_a_while_only() -> None:
    cluster = rack()
    converge(cluster)
    cluster.lingering = True
    cluster.remove()
    leave(cluster, 3)
    assert finalizers(cluster) == [FINALIZER]
    for name in cluster.names("Pod"):
        cluster.objects["Pod", name]["metadata"]["deletionTimestamp"] = LONG_AGO
    assert leave(cluster) == ["delete ComputeDomain", "finalizer DisaggDeployment"]


def test_a_driver_that_was_uninstalled_holds_nothing_up() -> None:
    cluster = rack()
    converge(cluster)
    cluster.driver.served = False
    del cluster.objects["ComputeDomain", DOMAIN]
    cluster.remove()
    assert leave(cluster) == ["finalizer DisaggDeployment"]
    assert cluster.resource is None


def test_a_domain_that_the_cache_has_not_seen_is_not_left_behind() -> None:
    cluster = rack(FakeDriver(running=False))
    drive(cluster)
    assert cluster.names("ComputeDomain") == {DOMAIN}
    cluster.remove()
    cluster.unseen = {("ComputeDomain", DOMAIN)}
    drive(cluster)
    cluster.unseen = set()
    assert finalizers(cluster) == [FINALIZER]
    assert "deletionTimestamp" in domain(cluster)["metadata"]
    cluster.driver.running = True
    cluster.settle()
    assert leave(cluster)[-1] == "finalizer DisaggDeployment"


def test_a_domain_that_is_wanted_and_that_the_cache_has_not_seen_stays() -> None:
    """Its claim template may be seen first: two watches, of which one lags."""
    cluster = rack()
    drive(cluster)
    cluster.settle()
    assert set(cluster.driver.templates) == {TEMPLATE}
    cluster.unseen = {("ComputeDomain", DOMAIN)}
    drive(cluster)
    assert ready(cluster) == ("False", "TemplateTaken")
    assert "deletionTimestamp" not in domain(cluster)["metadata"]
    assert finalizers(cluster) == [FINALIZER]
    cluster.unseen = set()
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2


def test_orphaned_children_keep_their_domain() -> None:
    cluster = rack()
    converge(cluster)
    assert cluster.resource
    cluster.resource["metadata"]["finalizers"].append("orphan")
    cluster.remove()
    assert leave(cluster, 1) == ["finalizer DisaggDeployment"]
    assert finalizers(cluster) == ["orphan"]
    assert len(cluster.names("StatefulSet")) == 2
    assert "deletionTimestamp" not in domain(cluster)["metadata"]


def test_pods_of_an_earlier_domain_are_told() -> None:
    cluster = rack()
    converge(cluster)
    enter(cluster)
    converge(cluster)
    del cluster.objects["ComputeDomain", DOMAIN]
    cluster.driver.templates.clear()
    drive(cluster)
    domain(cluster)["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    converge(cluster)
    assert ready(cluster) == ("False", "PodsOutdated")
    assert "kubectl delete pod demo-decode-" in message(cluster)
    assert len(cluster.names("StatefulSet")) == 2, "a domain that comes back restarts nothing by itself"


def test_a_domain_that_is_being_deleted_keeps_new_workers_waiting() -> None:
    cluster = rack(FakeDriver(running=False))
    converge(cluster)
    domain(cluster)["metadata"]["deletionTimestamp"] = LONG_AGO
    converge(cluster)
    assert ready(cluster) == ("False", "BeingDeleted")
    cluster.driver.running = True
    converge(cluster)
    assert "deletionTimestamp" not in domain(cluster)["metadata"]
    assert len(cluster.names("StatefulSet")) == 2


def test_a_revision_that_is_half_made_waits_for_the_domain_as_a_new_one_does() -> None:
    cluster = rack()
    drive(cluster)
    cluster.settle()
    with cluster.dying(2), pytest.raises(Crash):
        drive(cluster)
    (half,) = cluster.names("StatefulSet")
    domain(cluster)["metadata"]["deletionTimestamp"] = LONG_AGO
    cluster.settle()
    assert TEMPLATE not in cluster.driver.templates
    drive(cluster)
    assert cluster.names("StatefulSet") == {half}
    assert cluster.condition("Progressing")["reason"] == "WaitingForComputeDomain"
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2
    assert cluster.condition("Progressing")["reason"] == "Complete"


@pytest.mark.parametrize("nodes", [1, 2])
def test_further_workers_wait_for_the_domain_and_fewer_do_not(nodes: int) -> None:
    sharding = {"tensor": 4 * nodes}
    cluster = rack(decode={**TRAY, "nodesPerReplica": nodes, "parallelism": sharding, "replicas": 2})
    converge(cluster)
    pods = cluster.names("Pod")
    assert len(pods) == 1 + 2 * nodes
    cluster.driver.running = False
    domain(cluster)["metadata"]["deletionTimestamp"] = LONG_AGO
    cluster.edit(decode={"replicas": 3})
    converge(cluster)
    assert cluster.names("Pod") == pods
    assert cluster.condition("Progressing")["reason"] == "WaitingForComputeDomain"
    assert cluster.condition("Available")["status"] == "True"
    cluster.edit(decode={"replicas": 1})
    converge(cluster)
    assert cluster.names("Pod") < pods
    assert cluster.condition("Progressing")["reason"] == "Complete"
    cluster.edit(decode={"replicas": 3})
    cluster.driver.running = True
    converge(cluster)
    assert len(cluster.names("Pod")) == 1 + 3 * nodes


def test_a_half_made_revision_that_waits_for_the_domain_ends_nothing_that_serves() -> None:
    cluster = rack()
    cluster.edit(rollout={"strategy": "Surge"})
    converge(cluster)
    serving = cluster.names("StatefulSet")
    cluster.edit(runtime={"image": "worker:2"})
    with cluster.dying(2), pytest.raises(Crash):
        drive(cluster)
    half = cluster.names("StatefulSet")
    assert len(half) == 3
    cluster.driver.running = False
    domain(cluster)["metadata"]["deletionTimestamp"] = LONG_AGO
    cluster.edit(rollout={"strategy": "Recreate"})
    converge(cluster)
    assert cluster.names("StatefulSet") == half
    assert cluster.condition("Progressing")["reason"] == "WaitingForComputeDomain"
    cluster.driver.running = True
    converge(cluster)
    assert not serving & cluster.names("StatefulSet")
    assert len(cluster.names("StatefulSet")) == 2


def test_a_finalizer_that_somebody_took_off_is_put_back() -> None:
    cluster = rack()
    converge(cluster)
    assert cluster.resource
    cluster.resource["metadata"]["finalizers"] = []
    converge(cluster)
    assert finalizers(cluster) == [FINALIZER]


def test_a_driver_that_goes_before_the_domain_is_made_leaves_no_finalizer() -> None:
    cluster = rack()

    def before(verb: str, obj: Object) -> None:
        if verb == "apply" and obj["kind"] == "ComputeDomain":
            raise refusal(404)

    cluster.before_write = before
    with pytest.raises(BlockedError):
        drive(cluster)
    assert finalizers(cluster) == [FINALIZER]
    cluster.driver.served = False
    converge(cluster)
    assert finalizers(cluster) == []


def test_without_its_finalizer_no_domain_is_made() -> None:
    cluster = rack()

    def before(verb: str, _: Object) -> None:
        if verb == "finalizer":
            raise refusal(409)

    cluster.before_write = before
    with pytest.raises(RetrySoonError):
        drive(cluster)
    assert cluster.names("ComputeDomain") == set()


@pytest.mark.parametrize("effective", [False, True], ids=["before the write", "after the write"])
def test_a_crash_at_any_write_leaves_nothing_behind(effective: bool) -> None:
    """Die at each write of a whole life, start again, and end with nothing left."""
    for number in range(24):
        cluster = rack()
        with cluster.dying(number, effective=effective):
            try:
                converge(cluster)
            except Crash:
                converge(cluster)
            cluster.remove()
            try:
                leave(cluster)
            except Crash:
                leave(cluster)
        assert cluster.resource is None
        assert cluster.names("ComputeDomain") == set()


def test_the_documentation_has_every_reason_and_no_others() -> None:
    rows = [line.split("|")[1].strip() for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    assert {row.strip("`") for row in rows if row.strip("`").isalpha()} == set(Reason)
