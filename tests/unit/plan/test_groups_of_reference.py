"""The reference engine on several nodes: its ranks find each other, without ssh and without a script."""

from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, PREFILL, Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of
from unit.plan.worker_files import worker_files


def planned(prefill: int = 1, decode: int = 2) -> Plan:
    resource = deployment_of(
        {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "platform": "generic",
            "runtime": {"engine": "reference"},
            "prefill": {"nodesPerReplica": prefill},
            "decode": {"nodesPerReplica": decode, "replicas": 2},
        }
    )
    return plan(accept(resource), Installation(worker_image="worker:test"))


def objects(result: Plan, kind: str, role: str) -> list[dict[str, Any]]:
    return [
        obj
        for obj in worker_objects(result)
        if obj["kind"] == kind and obj["metadata"]["labels"]["disagg.dev/role"] == role
    ]


def container(result: Plan, role: str) -> dict[str, Any]:
    pod = objects(result, "StatefulSet", role)[0]["spec"]["template"]["spec"]
    found: dict[str, Any] = next(each for each in pod["containers"] if each["name"] == "worker")
    return found


def test_ranks_are_told_who_they_are_and_where_the_leader_is() -> None:
    result = planned()
    worker = container(result, DECODE)
    found = {each["name"]: each.get("value", each.get("valueFrom")) for each in worker["env"]}
    index = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    assert (found["DISAGG_NODES"], found["DISAGG_NODE_RANK"]) == ("2", index)
    base = f"demo-decode-{result.revision}"
    assert found["DISAGG_LEADER"] == f"{base}-$(DISAGG_GROUP)-0.{base}-all"
    assert {"name": "group", "containerPort": 9092, "protocol": "TCP"} in worker["ports"]


@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_roles_share_a_service_where_it_can_select_the_pods_of_both(prefill: int, decode: int) -> None:
    result = planned(prefill, decode)
    found = [
        (obj["metadata"]["name"], obj["spec"]["selector"])
        for obj in worker_objects(result)
        if obj["kind"] == "Service" and not obj["spec"].get("publishNotReadyAddresses")
    ]
    workers = {"disagg.dev/deployment": "demo", "disagg.dev/revision": result.revision}
    leaders = {"apps.kubernetes.io/pod-index": "0"}
    if (prefill > 1) == (decode > 1):
        selector = {**workers, **(leaders if prefill > 1 else {})}
        assert found == [(f"demo-worker-{result.revision}", selector)]
    else:
        assert found == [
            (
                f"demo-{role}-{result.revision}",
                {**workers, "disagg.dev/role": role, **(leaders if nodes > 1 else {})},
            )
            for role, nodes in ((PREFILL, prefill), (DECODE, decode))
        ]


def test_each_rank_runs_the_engine_and_answers_the_same_probes() -> None:
    several, single = container(planned(), DECODE), container(planned(decode=1), DECODE)
    assert several["command"] == single["command"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert several[probe] == single[probe]
        assert "httpGet" in several[probe]


@pytest.mark.parametrize(("prefill", "decode"), [(1, 2), (2, 1), (2, 3)])
def test_each_role_has_as_many_nodes_as_it_asks_for(prefill: int, decode: int) -> None:
    result = planned(prefill, decode)
    for role, nodes in ((PREFILL, prefill), (DECODE, decode)):
        sets = objects(result, "StatefulSet", role)
        replicas = 1 if role == PREFILL else 2
        assert [found["spec"]["replicas"] for found in sets] == (
            [nodes] * replicas if nodes > 1 else [replicas]
        )


def test_there_is_no_ssh_key_and_no_script() -> None:
    result = planned()
    assert not objects(result, "Secret", DECODE)
    assert not [name for name in worker_files(worker_objects(result), DECODE) if name.endswith(".sh")]
    _, everyone = objects(result, "Service", DECODE)
    assert everyone["spec"]["publishNotReadyAddresses"] is True
    assert [port["name"] for port in everyone["spec"]["ports"]] == ["group"]
