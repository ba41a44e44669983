"""The ComputeDomain of a deployment: when there is one, what it is called and how many nodes it is told."""

from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import domain_objects, shared_objects, worker_objects
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts, ExistingDomain
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import ROLES, ComputeDomainPlan, Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

TRAY: dict[str, Any] = {"gpusPerNode": 4, "parallelism": {"tensor": 4}}
RACK: dict[str, Any] = {"prefill": TRAY, "decode": {**TRAY, "replicas": 8}}
OWN = ExistingDomain("demo-compute-domain-channel", 9)


def planned(cluster: ClusterFacts = UNSEEN, platform: str = "gb200-nvl72", **spec: Any) -> Plan:
    resource = deployment_of(
        {
            "platform": platform,
            **RACK,
            **spec,
        }
    )
    return plan(accept(resource), Installation(worker_image="worker:test"), cluster)


def domain(result: Plan) -> ComputeDomainPlan:
    assert result.compute_domain is not None
    return result.compute_domain


def test_seed_002_both_roles_claim_the_channel_of_one_domain() -> None:
    result = planned()
    (made,) = domain_objects(result)
    assert made["apiVersion"] == "resource.nvidia.com/v1beta1"
    assert made["metadata"]["name"] == "demo-compute-domain"
    template = made["spec"]["channel"]["resourceClaimTemplate"]["name"]
    assert template == "demo-compute-domain-channel"
    pods = [obj["spec"]["template"]["spec"] for obj in worker_objects(result) if obj["kind"] == "StatefulSet"]
    assert len(pods) == len(ROLES)
    for pod in pods:
        assert pod["resourceClaims"] == [
            {"name": "compute-domain-channel", "resourceClaimTemplateName": template}
        ]
        assert pod["containers"][0]["resources"]["claims"] == [{"name": "compute-domain-channel"}]
    (frontend,) = [obj for obj in shared_objects(result) if obj["kind"] == "Deployment"]
    assert "resourceClaims" not in frontend["spec"]["template"]["spec"]


def test_seed_002_nodes_are_all_prefill_and_decode_nodes_where_the_driver_asks_for_them() -> None:
    result = planned(ClusterFacts(num_nodes_required=True), decode={**TRAY, "replicas": 2})
    assert domain(result).num_nodes == domain(result).nodes == 3
    assert "requires" in domain(result).num_nodes_provenance.reason


def test_nodes_are_left_to_the_driver_where_it_deprecates_their_number() -> None:
    assert (domain(planned()).num_nodes, domain(planned()).nodes) == (0, 9)


@pytest.mark.parametrize("required", [False, True])
def test_the_user_may_say_how_many_nodes(required: bool) -> None:
    result = planned(ClusterFacts(required), computeDomain={"numNodes": 12})
    assert domain(result).num_nodes == 12
    assert domain(result).num_nodes_provenance.source == "spec.computeDomain.numNodes"


def test_a_domain_that_is_there_keeps_its_number() -> None:
    assert domain(planned(ClusterFacts(domain=OWN))).num_nodes == 9
    assert domain(planned(ClusterFacts(domain=ExistingDomain(OWN.template, 0)))).num_nodes == 0


def test_scaling_a_domain_of_fixed_size_is_refused_unless_the_user_fixed_it() -> None:
    with pytest.raises(Refusal, match=r"spec\.decode\.replicas: .* made for 9 nodes.* need 10"):
        planned(ClusterFacts(domain=OWN), decode={**TRAY, "replicas": 9})
    none = {**TRAY, "replicas": 0}
    assert domain(planned(ClusterFacts(domain=OWN), prefill=none, decode=none)).nodes == 0
    wider = planned(ClusterFacts(domain=OWN), decode={**TRAY, "replicas": 9}, computeDomain={"numNodes": 9})
    assert domain(wider).nodes == 10


def test_the_cluster_does_not_decide_the_revision() -> None:
    assert planned(ClusterFacts(num_nodes_required=True)).revision == planned().revision
    assert planned(computeDomain={"enabled": False}).revision != planned().revision


def test_a_domain_of_the_user_is_used_as_it_is() -> None:
    seen = ClusterFacts(domain=ExistingDomain("rack-7-claims", 4))
    result = planned(seen, computeDomain={"name": "rack-7"})
    assert domain_objects(result) == []
    assert domain(result).adopted
    assert result.roles["prefill"].pod.claims[0].template == "rack-7-claims"
    unseen = planned(computeDomain={"name": "rack-7"})
    assert unseen.roles["prefill"].pod.claims[0].template == "rack-7-channel"


def test_there_is_none_where_nothing_needs_it() -> None:
    assert planned(computeDomain={"enabled": False}).compute_domain is None
    assert planned(platform="generic").compute_domain is None
    on_cpu = planned(
        model={"name": "m", "source": {"runtimeImage": {"path": "/m"}}},
        runtime={"engine": "reference"},
        prefill={},
        decode={},
    )
    assert on_cpu.compute_domain is None


@pytest.mark.parametrize("asked", [{"enabled": True}, {"name": "mine"}, {"numNodes": 0}])
def test_one_that_opens_nothing_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match=r"spec\.computeDomain: generic has no NVLink between nodes"):
        planned(platform="generic", computeDomain=asked)


def test_the_claim_and_the_domain_say_why_they_are_there() -> None:
    result = planned()
    assert domain(result).provenance.line.startswith("fabrics/mnnvl.yaml:")
    assert "#computedomain-for-gb200" in result.roles["decode"].pod.claims[0].provenance.source


ZONE = {"topologyKey": "topology.kubernetes.io/zone"}
LARGE = {"nodesPerReplica": 2, "gpusPerNode": 4, "parallelism": {"tensor": 8}}


@pytest.mark.parametrize(
    ("platform", "placement", "spread"),
    [
        ("aws-p6e-gb200.36xlarge", {}, False),
        ("aws-p6e-gb200.36xlarge", {"topologyKey": "nvidia.com/gpu.clique"}, False),
        ("aws-p6e-gb200.36xlarge", ZONE, True),
        ("aws-p6e-gb200.36xlarge", {"required": False}, True),
        ("gke-a4x", ZONE, True),
        ("gb200-nvl72", ZONE, False),
        ("gb200-nvl72", {"required": False}, False),
    ],
)
def test_only_where_kv_cache_crosses_another_fabric_may_workers_be_in_several_racks(
    platform: str, placement: dict[str, Any], spread: bool
) -> None:
    result = planned(platform=platform, placement=placement)
    assert domain(result).spread is spread
    for role in ROLES:
        variables = {each.name: each.value for each in result.roles[role].pod.environment}
        assert variables.get("UCX_CUDA_IPC_ENABLE_MNNVL") == ("n" if spread else None)


def test_each_instance_stays_in_one_rack_where_workers_may_be_in_several() -> None:
    result = planned(platform="aws-p6e-gb200.36xlarge", placement=ZONE, decode=LARGE)
    terms = {}
    for obj in worker_objects(result):
        if obj["kind"] == "StatefulSet":
            affinity = obj["spec"]["template"]["spec"]["affinity"]["podAffinity"]
            role = obj["metadata"]["labels"]["disagg.dev/role"]
            terms[role] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [term["topologyKey"] for term in terms["prefill"]] == [ZONE["topologyKey"]]
    zone, clique = terms["decode"]
    assert zone == terms["prefill"][0]
    assert clique["topologyKey"] == "nvidia.com/gpu.clique"
    own = clique["labelSelector"]["matchLabels"]
    assert (own["disagg.dev/group"], own["disagg.dev/role"]) == ("0", "decode")


def test_a_preference_for_one_rack_is_kept_beside_the_rule_for_instances() -> None:
    result = planned(platform="gke-a4x", placement={"required": False}, decode=LARGE)
    (group,) = [
        obj
        for obj in worker_objects(result)
        if obj["kind"] == "StatefulSet" and obj["metadata"]["labels"]["disagg.dev/role"] == "decode"
    ]
    affinity = group["spec"]["template"]["spec"]["affinity"]["podAffinity"]
    (required,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    (preferred,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    keys = (required["topologyKey"], preferred["podAffinityTerm"]["topologyKey"])
    assert keys == ("nvidia.com/gpu.clique", "nvidia.com/gpu.clique")
    assert "disagg.dev/group" in required["labelSelector"]["matchLabels"]
