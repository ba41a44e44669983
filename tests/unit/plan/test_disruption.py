"""What evictions must leave of a role and of the frontend."""

from typing import Any

import pytest

from disagg_operator.build.disruption import disruption_budgets
from disagg_operator.build.objects import shared_objects
from disagg_operator.build.statefulset import worker_stateful_sets
from disagg_operator.plan.model import Plan
from unit.deployments import planned


def deployment(decode: dict[str, Any], **spec: Any) -> Plan:
    nodes = decode.get("nodesPerReplica", 1)
    return planned(
        platform="aws-p5.48xlarge",
        runtime={"engine": "trtllm"},
        decode={**decode, "parallelism": {"tensor": 8 * nodes}},
        prefill={"replicas": 3},
        frontend={"replicas": 2},
        **spec,
    )


def least(plan: Plan) -> dict[str, int]:
    """Return the pods that must be left, by component."""
    return {
        budget["metadata"]["labels"]["disagg.dev/role"]: budget["spec"]["minAvailable"]
        for budget in disruption_budgets(plan)
    }


@pytest.mark.parametrize(
    ("replicas", "nodes", "most", "left"),
    [
        (4, 1, 1, 3),
        (4, 1, 2, 2),
        (4, 1, 0, 4),
        (4, 1, 4, None),
        (4, 1, 9, None),
        # A single instance may go: else a node could never be drained.
        (1, 1, 1, None),
        (0, 1, 1, None),
        # One pod of a group of eight may be evicted; then none until all are there again.
        (4, 8, 1, 31),
        (1, 8, 1, 7),
        (4, 8, 2, 23),
        (4, 8, 0, 32),
        (0, 8, 1, None),
    ],
)
def test_so_many_pods_must_be_left(replicas: int, nodes: int, most: int, left: int | None) -> None:
    decode = {"replicas": replicas, "nodesPerReplica": nodes}
    plan = deployment(decode, drain={"maxUnavailable": most})
    assert least(plan).get("decode") == left


@pytest.mark.parametrize("most", range(1, 6))
@pytest.mark.parametrize("nodes", range(1, 5))
@pytest.mark.parametrize("replicas", range(1, 6))
def test_evictions_take_as_many_groups_as_are_allowed_and_no_more(
    replicas: int, nodes: int, most: int
) -> None:
    """Groups go as wholes: each pod that is evicted takes the rest of its group with it."""
    plan = deployment({"replicas": replicas, "nodesPerReplica": nodes}, drain={"maxUnavailable": most})
    healthy, taken = replicas * nodes, 0
    while taken < replicas and healthy > least(plan).get("decode", 0):
        healthy -= nodes
        taken += 1
    assert taken == min(most, replicas)


def test_a_budget_covers_all_revisions_of_a_component_and_nothing_else() -> None:
    plan = deployment({"replicas": 2, "nodesPerReplica": 2})
    selectors = {
        budget["metadata"]["name"]: budget["spec"]["selector"]["matchLabels"]
        for budget in disruption_budgets(plan)
    }
    assert selectors == {
        f"{plan.name}-{component}": {"disagg.dev/deployment": plan.name, "disagg.dev/role": component}
        for component in ("prefill", "decode", "frontend")
    }
    for stateful_set in worker_stateful_sets(plan, plan.roles["decode"]):
        labels = stateful_set["spec"]["template"]["metadata"]["labels"]
        assert selectors[f"{plan.name}-decode"].items() <= labels.items()


def test_pods_that_serve_nobody_hold_up_no_drain_of_a_node() -> None:
    for budget in disruption_budgets(deployment({"replicas": 2})):
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_whoever_has_budgets_of_his_own_turns_ours_off() -> None:
    plan = deployment({"replicas": 2}, drain={"disruptionBudgets": False})
    assert not [obj for obj in shared_objects(plan) if obj["kind"] == "PodDisruptionBudget"]


def test_what_evictions_must_leave_restarts_nobody() -> None:
    revisions = {
        deployment({"replicas": 2}, drain=drain).revision
        for drain in ({}, {"maxUnavailable": 0}, {"disruptionBudgets": False})
    }
    assert len(revisions) == 1
