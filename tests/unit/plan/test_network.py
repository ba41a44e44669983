"""Who may reach the pods of a deployment, as its NetworkPolicies say it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.networkpolicy import network_policies
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from unit.deployments import trtllm

MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
GATEWAY = {"podSelector": {"matchLabels": {"app": "gateway"}}}
OWN = {"podSelector": {"matchLabels": {"disagg.dev/deployment": "demo"}}}
OPERATOR = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "disagg-system"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/component": "operator"}},
}
STRANGER = "anybody else"
ETCD, SYSTEM, AGENT, SSH = 2379, 9090, 9095, 2222
EVERY_PORT = -1


def demo(*, installation: Mapping[str, Any] | None = None, **spec: Any) -> Plan:
    return plan(accept(trtllm(**spec)), Installation("worker:test", **(installation or {})))


def doors(policy: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return who reaches which port of the pods that a policy selects."""

    def found() -> Iterator[tuple[str, int]]:
        for rule in policy["spec"]["ingress"]:
            for peer in rule.get("from", [STRANGER]):
                for port in rule.get("ports", [{"port": EVERY_PORT}]):
                    yield str(peer), port["port"]

    return set(found())


def the_policy(planned: Plan) -> dict[str, Any]:
    (policy,) = network_policies(planned)
    return policy


def test_pods_reach_each_other_the_operator_reaches_agents_and_all_reach_the_frontend() -> None:
    policy = the_policy(demo(frontend={"port": 8000}))
    assert policy["metadata"]["name"] == "demo-network"
    assert policy["spec"]["podSelector"] == {"matchLabels": {"disagg.dev/deployment": "demo"}}
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert doors(policy) == {(str(OWN), EVERY_PORT), (STRANGER, 8000), (str(OPERATOR), AGENT)}


def test_every_pod_that_is_made_is_fenced() -> None:
    planned = demo(discovery={"etcd": {}, "nats": {}})
    selected = the_policy(planned)["spec"]["podSelector"]["matchLabels"]
    made = [*shared_objects(planned), *worker_objects(planned)]
    pods = [obj["spec"]["template"] for obj in made if "template" in obj.get("spec", {})]
    assert len(pods) == 5, "etcd, NATS, the frontend and two roles"
    for pod in pods:
        assert selected.items() <= pod["metadata"]["labels"].items()


def test_policies_come_before_the_pods_that_they_fence() -> None:
    assert shared_objects(demo(discovery={"etcd": {}}))[0]["kind"] == "NetworkPolicy"


def test_metrics_are_read_by_those_whom_installation_and_deployment_name_and_nothing_else_is() -> None:
    planned = demo(network={"metricsFrom": [GATEWAY]}, installation={"metrics_from": (MONITORING,)})
    for peer in (GATEWAY, MONITORING):
        assert {port for who, port in doors(the_policy(planned)) if who == str(peer)} == {SYSTEM, AGENT}


def test_with_clients_named_only_they_the_operator_and_readers_of_metrics_reach_the_frontend() -> None:
    network = {"clients": [GATEWAY], "metricsFrom": [MONITORING]}
    found = doors(the_policy(demo(frontend={"port": 8000}, network=network)))
    assert {who for who, port in found if port == 8000} == {str(GATEWAY), str(OPERATOR), str(MONITORING)}
    assert not any(who == STRANGER for who, _ in found)


def test_the_operator_is_let_in_nowhere_where_it_verifies_nothing() -> None:
    planned = demo(verification={"mode": "Off"}, network={"clients": [GATEWAY]})
    assert not any(who == str(OPERATOR) for who, _ in doors(the_policy(planned)))


def test_an_operator_outside_of_the_cluster_is_named_by_no_policy() -> None:
    found = doors(the_policy(demo(installation={"namespace": ""})))
    assert not any("namespaceSelector" in who for who, _ in found)


@pytest.mark.parametrize("port", [ETCD, SYSTEM, AGENT])
def test_a_port_that_other_pods_have_too_is_opened_at_the_frontend_alone(port: int) -> None:
    inner, outer = network_policies(demo(discovery={"etcd": {}}, frontend={"port": port}))
    assert [each["metadata"]["name"] for each in (inner, outer)] == ["demo-network", "demo-frontend"]
    (but,) = inner["spec"]["podSelector"]["matchExpressions"]
    assert but == {"key": "disagg.dev/role", "operator": "NotIn", "values": ["frontend"]}
    assert outer["spec"]["podSelector"]["matchLabels"]["disagg.dev/role"] == "frontend"
    assert doors(inner) == {(str(OWN), EVERY_PORT), (str(OPERATOR), AGENT)}
    assert doors(outer) == {(str(OWN), EVERY_PORT), (STRANGER, port)}


def test_ssh_between_the_pods_of_a_group_counts_among_the_ports_that_others_have() -> None:
    grouped = {"nodesPerReplica": 2, "parallelism": {"tensor": 4}}
    assert len(network_policies(demo(decode=grouped, frontend={"port": SSH}))) == 2


def test_no_change_of_the_network_restarts_a_pod() -> None:
    revisions = {
        demo(network=network).revision
        for network in ({}, {"policy": "None"}, {"clients": [GATEWAY]}, {"metricsFrom": [MONITORING]})
    }
    assert len(revisions) == 1


@pytest.mark.parametrize("role", ["prefill", "decode", "frontend"])
def test_pods_in_the_host_network_are_fenced_by_nothing_and_that_is_told(role: str) -> None:
    hosted = {"podTemplate": {"spec": {"hostNetwork": True}}}
    written = {**({} if role == "frontend" else {"parallelism": {"tensor": 2}}), **hosted}
    planned = demo(**{role: written})
    assert planned.network.policy == "None"
    assert planned.network.provenance.source == f"spec.{role}.podTemplate.spec.hostNetwork"
    assert not network_policies(planned)


def test_none_makes_no_policy() -> None:
    assert not network_policies(demo(network={"policy": "None"}))


@pytest.mark.parametrize("asked", [{"policy": "Restrict"}, {"clients": [GATEWAY]}])
def test_what_the_installation_does_not_make_is_refused_where_it_is_asked_for(asked: dict[str, Any]) -> None:
    off = {"network_policies": False}
    assert not network_policies(demo(installation=off))
    with pytest.raises(Refusal) as refused:
        demo(installation=off, network=asked)
    (problem,) = refused.value.problems
    assert problem.field == "spec.network.policy"
    assert "network.policies" in problem.fault
