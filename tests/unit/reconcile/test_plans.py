"""When a plan that was made before is used again, and when another one is made."""

import json
from dataclasses import replace
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan import names
from disagg_operator.plan.cluster import UNSEEN
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from disagg_operator.reconcile.plans import Plans
from unit.reconcile.fake_cluster import deployment

INSTALLATION = Installation("worker:1")


def test_an_unchanged_specification_is_planned_once() -> None:
    plans, resource = Plans(INSTALLATION), deployment()
    first = plans.plan(accept(resource))
    resource["status"] = {"revision": "other"}
    resource["metadata"]["resourceVersion"] = "77"
    assert plans.plan(accept(resource)) is first


@pytest.mark.parametrize(
    "edit",
    [
        {"spec": {"decode": {"replicas": 3}}},
        {"spec": {"transfer": {"timeoutSeconds": 60}}},  # the default, but written
        {"spec": {"prefill": {"env": [{"name": "A", "value": "b"}]}}},
        {"spec": {"rollout": {"strategy": "Recreate"}}},
        {"metadata": {"annotations": {names.ANNOTATION_SSH_KEY: "2"}}},
        {"metadata": {"uid": "another"}},
        {"metadata": {"name": "another"}},
    ],
)
def test_whatever_is_written_makes_another_plan(edit: dict[str, dict[str, Any]]) -> None:
    plans, before, after = Plans(INSTALLATION), deployment(), deployment()
    for part, changes in edit.items():
        after[part] |= changes
    plans.plan(accept(before))
    assert plans.plan(accept(after)) == plan(accept(after), INSTALLATION)
    assert plans.plan(accept(before)) == plan(accept(before), INSTALLATION)


def test_what_is_known_of_the_cluster_makes_another_plan() -> None:
    plans, resource = Plans(INSTALLATION), accept(deployment(scaling={"decode": {"maxReplicas": 9}}))
    assert plans.plan(resource).roles["decode"].replicas == 1
    assert plans.plan(resource, replace(UNSEEN, counts={"decode": 7})).roles["decode"].replicas == 7


def test_objects_built_from_a_plan_again_are_the_same() -> None:
    planned = Plans(INSTALLATION).plan(accept(deployment()))
    built = [json.dumps([*shared_objects(planned), *worker_objects(planned)]) for _ in range(2)]
    assert built[0] == built[1]


def test_no_more_plans_are_kept_than_asked_for() -> None:
    plans = Plans(INSTALLATION, most=2)
    one, two, three = (accept(deployment(name)) for name in ("one", "two", "three"))
    first, second = plans.plan(one), plans.plan(two)
    assert plans.plan(one) is first
    plans.plan(three)
    assert plans.plan(one) is first
    assert plans.plan(two) is not second


def test_a_refusal_is_told_again() -> None:
    plans, resource = Plans(INSTALLATION), accept(deployment(platform="nowhere"))
    for _ in range(2):
        with pytest.raises(Refusal):
            plans.plan(resource)
