"""What is written about the network is heeded, or refused with the field that is wrong."""

from typing import Any

import pytest

from disagg_operator.api.admission.network import peer_faults
from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from unit.deployments import trtllm

GOOD = [
    {"podSelector": {}},
    {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus", "a.b/c": ""}}},
    {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}},
    {"podSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
    {"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}},
    {"ipBlock": {"cidr": "fd00::/64"}},
]
BAD = [
    ("monitoring", "PEER"),
    ({}, "PEER"),
    ({"podSelector": None}, "PEER"),
    ({"namespace": "monitoring"}, "PEER.namespace"),
    ({"podSelector": {"app": "x"}}, "PEER.podSelector.app"),
    ({"podSelector": []}, "PEER.podSelector"),
    ({"podSelector": {"matchLabels": []}}, "PEER.podSelector.matchLabels"),
    ({"podSelector": {"matchLabels": {"app": 1}}}, "PEER.podSelector.matchLabels[app]"),
    ({"podSelector": {"matchLabels": {"app": "a b"}}}, "PEER.podSelector.matchLabels[app]"),
    ({"podSelector": {"matchLabels": {"app": "x\n"}}}, "PEER.podSelector.matchLabels[app]"),
    ({"podSelector": {"matchLabels": {"app": "x" * 64}}}, "PEER.podSelector.matchLabels[app]"),
    ({"podSelector": {"matchLabels": {"/app": "x"}}}, "PEER.podSelector.matchLabels"),
    ({"podSelector": {"matchLabels": {"a" * 64: "x"}}}, "PEER.podSelector.matchLabels"),
    ({"podSelector": {"matchExpressions": {}}}, "PEER.podSelector.matchExpressions"),
    ({"podSelector": {"matchExpressions": ["x"]}}, "PEER.podSelector.matchExpressions[0]"),
    (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Equals"}]}},
        "PEER.podSelector.matchExpressions[0].operator",
    ),
    (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}},
        "PEER.podSelector.matchExpressions[0].values",
    ),
    (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "PEER.podSelector.matchExpressions[0].values",
    ),
    (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "-"]}]}},
        "PEER.podSelector.matchExpressions[0].values[1]",
    ),
    (
        {"podSelector": {"matchExpressions": [{"operator": "Exists"}]}},
        "PEER.podSelector.matchExpressions[0].key",
    ),
    ({"ipBlock": {"cidr": "10.0.0.0/16"}, "podSelector": {}}, "PEER.ipBlock"),
    ({"ipBlock": {}}, "PEER.ipBlock.cidr"),
    ({"ipBlock": {"cidr": "10.0.0.1"}}, "PEER.ipBlock.cidr"),
    ({"ipBlock": {"cidr": "10.0.0.0/33"}}, "PEER.ipBlock.cidr"),
    ({"ipBlock": {"cidr": "10.0.0.0/16", "except": "10.0.1.0/24"}}, "PEER.ipBlock.except"),
    ({"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.1.0.0/24"]}}, "PEER.ipBlock.except[0]"),
    ({"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.0.0/16"]}}, "PEER.ipBlock.except[0]"),
    ({"ipBlock": {"cidr": "10.0.0.0/16", "except": ["fd00::/64"]}}, "PEER.ipBlock.except[0]"),
    ({"ipBlock": {"cidr": "10.0.0.0/16", "port": 1}}, "PEER.ipBlock.port"),
]
HOSTED = {"podTemplate": {"spec": {"hostNetwork": True}}}


@pytest.mark.parametrize("peer", GOOD)
def test_peers_of_a_network_policy_are_taken(peer: Any) -> None:
    assert not list(peer_faults("PEER", peer))
    accept(trtllm(network={"clients": [peer], "metricsFrom": [peer]}))


@pytest.mark.parametrize(("peer", "field"), BAD)
def test_what_is_no_peer_is_refused_with_the_field(peer: Any, field: str) -> None:
    found = list(peer_faults("PEER", peer))
    assert [fault.field for fault in found] == [field]
    assert all(fault.fault and fault.remedy for fault in found)


@pytest.mark.parametrize("field", ["clients", "metricsFrom"])
def test_peers_are_judged_where_they_are_written(field: str) -> None:
    with pytest.raises(Refusal) as refused:
        accept(trtllm(network={field: [{"podSelector": {}}, {"podSelector": {"app": "x"}}]}))
    (problem,) = refused.value.problems
    assert problem.field == f"spec.network.{field}[1].podSelector.app"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"network": {"policy": "Restrict"}, "frontend": HOSTED}, "spec.network.policy"),
        ({"network": {"policy": "None", "clients": [{"podSelector": {}}]}}, "spec.network.clients"),
        ({"network": {"policy": "None", "metricsFrom": [{"podSelector": {}}]}}, "spec.network.metricsFrom"),
        ({"network": {"clients": [{"podSelector": {}}]}, "frontend": HOSTED}, "spec.network.clients"),
    ],
)
def test_nothing_is_written_in_vain(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refused:
        accept(trtllm(**spec))
    assert [problem.field for problem in refused.value.problems] == [field]


def test_pods_in_the_host_network_are_taken_where_nobody_asks_for_a_policy() -> None:
    accept(trtllm(frontend=HOSTED))
    accept(trtllm(frontend=HOSTED, network={"policy": "None"}))
