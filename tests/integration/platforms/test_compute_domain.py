"""The operator, NVIDIA's real ComputeDomain controller and the real scheduler, on simulated GB200 nodes."""

import json
import secrets
import time
from http import HTTPStatus
from typing import Any

import pytest

from chart.helm import RELEASE
from e2e.audit import FORBIDDEN, Request, granted, used
from integration.operator.control_plane import eventually
from integration.platforms.conftest import RunningOperator
from integration.platforms.racks import (
    CLIQUE,
    OPERATOR,
    OTHER_CLIQUE,
    TAINTS,
    TRAY,
    RackDeployment,
    add_trays,
    foreign,
    made_at,
)
from testcluster.platforms.cluster import PlatformCluster

pytestmark = pytest.mark.apiserver

FINALIZER = "disagg.dev/compute-domain"
UID_LABEL = "resource.nvidia.com/computeDomain"
CRD = "customresourcedefinition.apiextensions.k8s.io/computedomains.resource.nvidia.com"


def test_a_rack_comes_up_and_shows_its_clique(platform: PlatformCluster, demo: RackDeployment) -> None:
    """One prefill node, and one decode instance on eight nodes, as in Dynamo's recipe for DeepSeek-R1."""
    trays = add_trays(platform, 9)
    demo.create(decode={"nodesPerReplica": 8, "parallelism": {"tensor": 32}})
    assert demo.running_on(9) == sorted(trays), "one worker a node"
    domain = demo.made_domain()
    template = demo.api.get("resourceclaimtemplates", demo.namespace, demo.template)
    sets = demo.api.find("statefulsets", demo.namespace)
    assert template["metadata"]["labels"][UID_LABEL] == domain["metadata"]["uid"]
    assert all(made_at(template) <= made_at(found) for found in sets)
    assert demo.resource()["metadata"]["finalizers"] == [FINALIZER]
    claims = demo.api.find("resourceclaims", demo.namespace)
    devices = [
        result["pool"] for claim in claims for result in claim["status"]["allocation"]["devices"]["results"]
    ]
    assert sorted(devices) == sorted(trays), "the scheduler gave each worker the channel of its node"

    assert domain["status"]["status"] == "Ready", "the driver calls a domain without any node Ready"
    demo.wait_for("Progressing", "Complete")
    assert demo.condition("ComputeDomainReady")["reason"] == "NodesMissing", "and we do not"
    platform.driver.simulate_daemons(demo.namespace, demo.domain, trays)
    ready = demo.wait_for("ComputeDomainReady", "Ready")
    assert ready["status"] == "True"
    assert CLIQUE in ready["message"]
    shown = demo.resource()["status"]["computeDomain"]
    assert [node["name"] for node in shown["nodes"]] == sorted(trays)
    table = platform.kubectl.text("get", "dd", demo.name, f"--namespace={demo.namespace}", "-o", "wide")
    assert CLIQUE in table


def test_workers_of_one_deployment_stay_in_one_clique(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    first, second = add_trays(platform, 2), add_trays(platform, 2, OTHER_CLIQUE)
    demo.create()
    assert demo.running_on(2) in (sorted(first), sorted(second))


def test_a_steady_rack_is_left_alone(
    platform: PlatformCluster, demo: RackDeployment, operator: RunningOperator
) -> None:
    trays = add_trays(platform, 2)
    # These pods run nothing, so a measurement would be tried, and told, again and again.
    demo.create(verification={"mode": "Off"})
    demo.running_on(2)
    platform.driver.simulate_daemons(demo.namespace, demo.domain, trays)
    demo.wait_for("ComputeDomainReady", "Ready")
    demo.wait_for("Progressing", "Complete")
    time.sleep(3)
    before = _writes(operator)
    demo.platform.kubectl.text(
        "annotate", "dd", demo.name, f"--namespace={demo.namespace}", "example.com/touched=yes"
    )
    time.sleep(3)
    assert _writes(operator) == before


def _writes(operator: RunningOperator) -> list[str]:
    reads = {"get", "list", "watch"}
    return [
        request.told
        for request in operator.audit.requests(OPERATOR)
        if request.permission.verb not in reads and request.permission.resource not in ("leases", "events")
    ]


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_the_domain_goes_after_the_last_worker(
    platform: PlatformCluster, demo: RackDeployment, cascade: str
) -> None:
    add_trays(platform, 3)
    demo.create(replicas=2)
    demo.running_on(3)
    uid = demo.made_domain()["metadata"]["uid"]
    held = demo.pods()[0]["metadata"]["name"]
    place = f"--namespace={demo.namespace}"
    platform.kubectl.text(
        "patch",
        "pod",
        held,
        place,
        "--type=merge",
        "--patch",
        '{"metadata": {"finalizers": ["example.com/held"]}}',
    )
    demo.delete(f"--cascade={cascade}")
    eventually(lambda: len(demo.pods()) == 1, "the other workers are gone")
    time.sleep(3)
    assert "deletionTimestamp" not in demo.made_domain()["metadata"], "one worker is still there"
    assert "Still there: " + held in demo.condition("Progressing")["message"]
    platform.kubectl.text(
        "patch", "pod", held, place, "--type=merge", "--patch", '{"metadata": {"finalizers": null}}'
    )
    demo.wait_until_gone()
    assert demo.names("computedomains") == []
    eventually(lambda: demo.names("resourceclaimtemplates") == [], "the template is gone")
    assert uid not in platform.kubectl.text("get", "nodes", "--show-labels")


def test_scaling_past_a_rack_is_refused_and_harms_nothing(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    demo.create()
    demo.running_on(2)
    demo.wait_for("Progressing", "Complete")
    pods = {pod["metadata"]["uid"] for pod in demo.pods()}
    domain = demo.made_domain()["metadata"]["resourceVersion"]
    demo.edit(decode={"replicas": 18})
    accepted = demo.wait_for("Accepted", "InvalidSpec")
    assert "spec.decode.replicas: 19 nodes" in accepted["message"]
    time.sleep(2)
    assert {pod["metadata"]["uid"] for pod in demo.pods()} == pods
    assert demo.made_domain()["metadata"]["resourceVersion"] == domain
    assert demo.condition("Available")["status"] == "True"
    add_trays(platform, 1)
    demo.edit(decode={"replicas": 2})
    demo.running_on(3)
    assert demo.made_domain()["metadata"]["resourceVersion"] == domain, "scaling needs no other domain"


def test_a_scaler_gets_as_much_of_a_rack_as_there_is_and_what_runs_goes_on(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    demo.create(scaling={"decode": {"maxReplicas": 100}})
    demo.running_on(2)
    demo.wait_for("Progressing", "Complete")
    before = demo.pods()
    pods = {pod["metadata"]["uid"] for pod in before}
    scaler = (demo.namespace, f"{demo.name}-decode")

    def told(kind: str) -> dict[str, Any]:
        status = demo.api.get("disaggscalers", *scaler).get("status", {})
        found = [each for each in status.get("conditions", []) if each["type"] == kind]
        return found[0] if found else {"reason": ""}

    demo.api.patch("disaggscalers", *scaler, {"spec": {"replicas": 30}}, "/scale")
    eventually(lambda: told("ScalingLimited")["reason"] == "NotPlannable", "the scaler says what limits it")
    assert "30 cannot be had, and 17 is in force" in told("ScalingLimited")["message"]
    assert demo.condition("Accepted")["status"] == "True"
    eventually(lambda: len(demo.pods()) == 18, "the whole rack is asked for")
    lacks = ("TooFewNodes", "NoLargeDomain")
    eventually(lambda: told("Ready")["reason"] in lacks, "it says that the rack lacks trays")
    assert pods < {pod["metadata"]["uid"] for pod in demo.pods()}
    assert demo.condition("Available")["status"] == "True"
    demo.api.patch("disaggscalers", *scaler, {"spec": {"replicas": 1}}, "/scale")
    eventually(lambda: {pod["metadata"]["uid"] for pod in demo.pods()} == pods, "only the first are left")
    eventually(lambda: told("Ready")["reason"] == "AllReady", "all that is asked for is ready")


def test_what_cannot_change_is_refused_before_the_driver_refuses_it(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    demo.create()
    demo.running_on(2)
    demo.edit(computeDomain={"numNodes": 2})
    accepted = demo.wait_for("Accepted", "InvalidSpec")
    assert "spec.computeDomain.numNodes: the ComputeDomain was made with 0" in accepted["message"]
    demo.edit(computeDomain=None)
    demo.wait_for("Accepted", "Accepted")
    assert len(demo.pods()) == 2


def test_a_template_that_is_taken_is_told_and_waited_for(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    platform.kubectl.create([foreign(demo.namespace, "theirs", demo.template)])
    eventually(lambda: demo.template in demo.names("resourceclaimtemplates"), "the template is taken")
    demo.create()
    ready = demo.wait_for("ComputeDomainReady", "TemplateTaken")
    assert "was made for ComputeDomain theirs" in ready["message"]
    assert demo.condition("Progressing")["reason"] == "WaitingForComputeDomain"
    assert demo.pods() == []
    assert demo.names("computedomains") == ["theirs"]
    platform.kubectl.text("delete", "computedomain", "theirs", f"--namespace={demo.namespace}")
    demo.running_on(2)


def test_a_name_that_is_taken_is_told_and_left_alone(platform: PlatformCluster, demo: RackDeployment) -> None:
    add_trays(platform, 2)
    # SIMULATED: Grove, which makes one for a PodCliqueSet.
    theirs = foreign(demo.namespace, demo.domain, "their-claims")
    theirs["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "grove-operator"}
    platform.kubectl.create([theirs])
    demo.create()
    taken = demo.wait_for("ComputeDomainReady", "NameTaken")
    assert "that grove-operator made" in taken["message"]
    assert demo.made_domain()["spec"]["channel"]["resourceClaimTemplate"]["name"] == "their-claims"
    demo.edit(computeDomain={"name": demo.domain})
    demo.running_on(2)


def test_a_domain_of_the_user_is_used_and_outlives_the_deployment(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    demo.create(computeDomain={"name": "mine"})
    demo.wait_for("ComputeDomainReady", "DomainMissing")
    assert demo.pods() == []
    platform.kubectl.create([foreign(demo.namespace, "mine", "my-claims")])
    demo.running_on(2)
    (claim,) = demo.pods()[0]["spec"]["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == "my-claims"
    made = demo.api.get("computedomains", demo.namespace, "mine")
    managers = {entry["manager"] for entry in made["metadata"]["managedFields"]}
    assert "disagg-operator" not in managers
    assert "finalizers" not in demo.resource()["metadata"]
    demo.delete()
    demo.wait_until_gone()
    assert demo.names("computedomains") == ["mine"]


def test_a_stopped_controller_holds_nothing_up_for_ever(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    with platform.driver.controller_stopped():
        demo.create()
        demo.wait_for("ComputeDomainReady", "BeingMade")
        eventually(
            lambda: "see whether its controller runs" in demo.condition("ComputeDomainReady")["message"],
            "the condition names the controller",
        )
        assert demo.pods() == []
    demo.running_on(2)
    with platform.driver.controller_stopped():
        demo.delete()
        eventually(lambda: demo.pods() == [], "the workers are gone")
        time.sleep(5)
        assert demo.there(), "the driver gets a minute"
        demo.wait_until_gone(120)
        assert demo.made_domain()["metadata"]["deletionTimestamp"]
        events = demo.api.find("events", demo.namespace)
        assert "ComputeDomainLeftBehind" in {event["reason"] for event in events}
    eventually(lambda: demo.names("computedomains") == [], "the driver lets go")


def test_a_driver_that_is_absent_is_told_and_may_come_later(
    platform: PlatformCluster, demo: RackDeployment, operator: RunningOperator
) -> None:
    add_trays(platform, 2)
    with platform.driver.absent():
        demo.create()
        ready = demo.wait_for("ComputeDomainReady", "DriverMissing")
        assert "install NVIDIA's DRA driver" in ready["message"]
        before = len(list(operator.audit.requests(OPERATOR)))
        time.sleep(10)
        asked = list(operator.audit.requests(OPERATOR))[before:]
        assert len([each for each in asked if not routine(each)]) < 10, asked
        assert demo.pods() == []
        assert "finalizers" not in demo.resource()["metadata"]
    demo.running_on(2, seconds=120)


def routine(request: Request) -> bool:
    """Tell whether an idle operator asks so: for its Lease, or to go on with a watch that ended in time."""
    asked = request.permission
    return asked.resource == "leases" or (asked.verb == "watch" and request.code == HTTPStatus.OK)


def test_a_driver_that_requires_the_number_of_nodes_gets_it(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 3)
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
    found = json.loads(platform.kubectl.text("get", CRD, "-o", "json"))
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def change(required: list[str], number: dict[str, Any]) -> None:
        patch = [
            {"op": "replace", "path": f"{path}/required", "value": required},
            {"op": "replace", "path": f"{path}/properties/numNodes", "value": number},
        ]
        platform.kubectl.text("patch", CRD, "--type=json", "--patch", json.dumps(patch))

    # SIMULATED: version 25.3 requires the number and has no default.
    number = {key: value for key, value in schema["properties"]["numNodes"].items() if key != "default"}
    change([*schema["required"], "numNodes"], number)
    try:
        openapi = ("get", "--raw", "/openapi/v3/apis/resource.nvidia.com/v1beta1")
        eventually(
            lambda: '"required":["channel","numNodes"]' in platform.kubectl.text(*openapi),
            "the schema changes",
        )
        demo.create(replicas=2)
        demo.running_on(3)
        assert demo.made_domain()["spec"]["numNodes"] == 3
        demo.edit(decode={"replicas": 3})
        refused = demo.wait_for("Accepted", "InvalidSpec")
        assert "made for 3 nodes" in refused["message"]
        assert len(demo.pods()) == 3
        demo.delete()
        demo.wait_until_gone()
    finally:
        change(schema["required"], schema["properties"]["numNodes"])


def test_a_namespace_whose_standard_is_too_strict_is_told_before_anything_is_made(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    """Workers of a rack fit `baseline`: their image runs as its own user, which `restricted` refuses."""
    enforce = ("label", "namespace", demo.namespace, "--overwrite")
    add_trays(platform, 2)
    platform.kubectl.text(*enforce, "pod-security.kubernetes.io/enforce=restricted")
    demo.create()
    told = demo.wait_for("PlatformReady", "PodSecurity")
    fix = "pod-security.kubernetes.io/enforce=baseline"
    assert f"Run: kubectl label namespace {demo.namespace} {fix} --overwrite" in told["message"]
    demo.wait_for("Progressing", "PlatformNotReady")
    assert demo.pods() == []
    assert demo.names("computedomains") == [], "no domain is made for pods that cannot be"
    platform.kubectl.text(*enforce, fix)
    demo.running_on(2)


def test_under_baseline_a_rack_on_efa_is_told_what_it_needs(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_ultraserver(platform, 2, CLIQUE)
    enforce = ("label", "namespace", demo.namespace, "--overwrite")
    platform.kubectl.text(*enforce, "pod-security.kubernetes.io/enforce=baseline")
    demo.create(platform="aws-p6e-gb200.36xlarge")
    told = demo.wait_for("PlatformReady", "PodSecurity")
    fix = "pod-security.kubernetes.io/enforce=privileged"
    assert f"Run: kubectl label namespace {demo.namespace} {fix} --overwrite" in told["message"]
    demo.wait_for("Progressing", "PlatformNotReady")
    assert demo.pods() == []
    platform.kubectl.text(*enforce, fix)
    demo.running_on(2)


def test_trays_of_another_rack_are_told(platform: PlatformCluster, demo: RackDeployment) -> None:
    """A user who lets workers be split over racks learns what that costs."""
    first, second = add_trays(platform, 1), add_trays(platform, 1, OTHER_CLIQUE)
    demo.create(placement={"topologyKey": "kubernetes.io/os"}, prefill=TRAY)
    demo.running_on(2)
    platform.driver.simulate_daemons(demo.namespace, demo.domain, [*first, *second])
    ready = demo.wait_for("ComputeDomainReady", "SeveralCliques")
    assert CLIQUE in ready["message"]
    assert demo.resource()["status"]["computeDomain"]["clique"] == "2 cliques"
    assert demo.condition("Available")["status"] == "True"


def test_where_kv_cache_crosses_efa_instances_may_be_in_several_racks(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    first, second = add_ultraserver(platform, 1, CLIQUE), add_ultraserver(platform, 2, OTHER_CLIQUE)
    here = {"podTemplate": {"spec": {"nodeSelector": {"nvidia.com/gpu.clique": CLIQUE}}}}
    demo.create(
        platform="aws-p6e-gb200.36xlarge",
        placement={"topologyKey": "topology.kubernetes.io/zone"},
        prefill={**TRAY, **here},
        decode={"nodesPerReplica": 2, "parallelism": {"tensor": 8}},
    )
    assert demo.running_on(3) == sorted([*first, *second])
    platform.driver.simulate_daemons(demo.namespace, demo.domain, [*first, *second])
    ready = demo.wait_for("ComputeDomainReady", "Ready")
    assert ready["message"] == "NVLink spans the nodes of each model instance: 3 nodes in 2 cliques."
    assert demo.condition("PlatformReady")["status"] == "True"


def add_ultraserver(platform: PlatformCluster, count: int, clique: str) -> list[str]:
    """Add machines of AWS, each a node of a rack with EFA."""
    return platform.add_nodes(
        count,
        prefix=f"p6e-{secrets.token_hex(2)}",
        labels={
            "kubernetes.io/arch": "arm64",
            "node.kubernetes.io/instance-type": "p6e-gb200.36xlarge",
            "topology.kubernetes.io/zone": "us-east-1a",
        },
        allocatable={"nvidia.com/gpu": "4", "vpc.amazonaws.com/efa": "4"},
        taints=TAINTS,
        clique=clique,
    )


def test_every_permission_for_compute_domains_is_used_and_none_is_missing(
    platform: PlatformCluster, operator: RunningOperator
) -> None:
    """Looks back at all tests of this module."""
    made = list(operator.audit.requests(OPERATOR))
    assert not [request.told for request in made if request.code == FORBIDDEN]
    rules = platform.kubectl.json("get", "clusterrole", RELEASE)["rules"]
    ours = [
        rule
        for rule in rules
        if {*rule["apiGroups"]} & {"resource.nvidia.com"}
        or rule["resources"] in (["resourceclaimtemplates"], ["disaggdeployments"])
    ]
    assert len(ours) == 4
    unused = granted([{"rules": ours}]) - used(made)
    assert not unused, f"granted and never used: {unused}"
