"""Metrics of deployments come and go with them, and some can be asked for alone."""

from typing import Any

from disagg_operator.reconcile.kinds import Key
from disagg_operator.runtime.metrics import Metrics

ONE, OTHER = Key("team", "one"), Key("team", "other")


def status(reason: str, ready: int) -> dict[str, Any]:
    return {
        "conditions": [{"type": "Available", "status": "True", "reason": reason}],
        "roles": {"decode": {"desiredReplicas": 2, "readyReplicas": ready}},
    }


def shown(metrics: Metrics, name: str) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith(name + "{")]


def test_what_is_shown_of_a_deployment_is_replaced_and_goes_with_it() -> None:
    metrics = Metrics()
    metrics.show_status(ONE, status("Serving", 1))
    metrics.show_status(OTHER, status("Serving", 2))
    metrics.show_status(ONE, status("Degraded", 0))
    conditions = "disagg_deployment_condition"
    assert shown(metrics, conditions) == [
        conditions + '{condition="Available",deployment="one",namespace="team",reason="Degraded"} 1.0',
        conditions + '{condition="Available",deployment="other",namespace="team",reason="Serving"} 1.0',
    ]
    metrics.show_status(ONE, {})
    assert len(shown(metrics, conditions)) == 1
    assert [line.split()[-1] for line in shown(metrics, "disagg_deployment_instances")] == ["2.0", "2.0"]


def test_some_metrics_can_be_asked_for_alone() -> None:
    metrics = Metrics()
    metrics.show_status(ONE, status("Serving", 1))
    text = metrics.render(["disagg_leader", "disagg_deployment_condition"]).decode()
    samples = [line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert sorted(samples) == ["disagg_deployment_condition", "disagg_leader"]
