"""Which API of gang scheduling is planned for, and what depends on it."""

from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.gang import gang_objects
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts
from disagg_operator.plan.gang import APIS, GangApi
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import GangPlan, Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

EVERYTHING = ClusterFacts(gang_apis=APIS)


def by_version(version: str) -> GangApi:
    return next(api for api in APIS if api.api_version == version)


def planned(facts: ClusterFacts = EVERYTHING, gang: dict[str, Any] | None = None, **spec: Any) -> Plan:
    placement = {} if gang is None else {"placement": {"gang": gang}}
    roles = {
        "prefill": {"parallelism": {"tensor": 8}},
        "decode": {"replicas": 2, "nodesPerReplica": 2, "parallelism": {"tensor": 16}},
    }
    resource = deployment_of({"platform": "aws-p5.48xlarge", **roles, **placement, **spec})
    return plan(accept(resource), Installation("worker:test"), facts)


def gang_of(result: Plan) -> GangPlan | None:
    group = result.roles["decode"].group
    assert group is not None
    return group.gang


def test_nothing_is_asked_for_where_nothing_is_served() -> None:
    result = planned(UNSEEN)
    assert gang_of(result) is None
    assert {obj["kind"] for obj in worker_objects(result)} == {
        "ConfigMap",
        "Service",
        "Secret",
        "StatefulSet",
    }


def test_by_itself_only_kubernetes_own_is_chosen_which_asks_nothing_of_an_administrator() -> None:
    chosen = gang_of(planned())
    assert chosen
    assert (chosen.scheduler, chosen.api_version) == ("Native", "scheduling.k8s.io/v1beta1")
    others = tuple(api for api in APIS if api.scheduler != "Native")
    assert gang_of(planned(ClusterFacts(gang_apis=others))) is None


@pytest.mark.parametrize(
    ("served", "scheduler"), [(APIS, "Kueue"), ((by_version("scheduling.run.ai/v2alpha2"),), "KAI")]
)
def test_a_queue_chooses_a_scheduler_that_has_queues(served: tuple[GangApi, ...], scheduler: str) -> None:
    chosen = gang_of(planned(ClusterFacts(gang_apis=served), {"queue": "team-a"}))
    assert chosen
    assert (chosen.scheduler, chosen.queue) == (scheduler, "team-a")


def test_instances_on_one_node_are_never_gangs() -> None:
    one = {"parallelism": {"tensor": 8}}
    result = planned(EVERYTHING, {"scheduler": "KAI"}, decode=one)
    assert all(role.group is None for role in result.roles.values())
    for obj in worker_objects(result):
        assert obj["kind"] != "PodGroup"
        if obj["kind"] == "StatefulSet":
            assert "schedulerName" not in obj["spec"]["template"]["spec"]


def test_the_least_number_of_pods_is_all_of_them() -> None:
    for api in APIS:
        facts = ClusterFacts(gang_apis=(api,))
        queue = {"queue": "q"} if api.scheduler in ("Kueue", "KAI") else {}
        result = planned(facts, {"scheduler": api.scheduler.value, **queue})
        for obj in gang_objects(result, result.roles["decode"]):
            spec = obj["spec"]
            least = (
                spec.get("minMember")
                or spec.get("schedulingPolicy", {}).get("gang", {}).get("minCount")
                or spec["podGroups"][0]["policy"]["gang"]["minCount"]
            )
            assert least == 2


def test_a_version_of_the_api_is_no_reason_for_a_rollout_and_another_scheduler_is() -> None:
    revisions = {
        version: planned(ClusterFacts(gang_apis=(by_version(f"scheduling.k8s.io/{version}"),))).revision
        for version in ("v1alpha1", "v1alpha2", "v1alpha3", "v1beta1")
    }
    assert revisions["v1alpha2"] == revisions["v1alpha3"] == revisions["v1beta1"]
    assert len({*revisions.values(), planned(UNSEEN).revision}) == 3


def test_a_scheduler_that_the_podtemplate_names_stays() -> None:
    template = {"spec": {"schedulerName": "mine"}}
    decode = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}, "podTemplate": template}
    result = planned(EVERYTHING, {"scheduler": "Coscheduling"}, decode=decode)
    (decode_set,) = [
        obj
        for obj in worker_objects(result)
        if obj["kind"] == "StatefulSet" and obj["metadata"]["labels"]["disagg.dev/role"] == "decode"
    ]
    assert decode_set["spec"]["template"]["spec"]["schedulerName"] == "mine"


def test_pods_of_a_group_say_how_large_it_is() -> None:
    for obj in worker_objects(planned()):
        if obj["kind"] == "StatefulSet":
            labels = obj["spec"]["template"]["metadata"]["labels"]
            of_groups = labels["disagg.dev/role"] == "decode"
            assert labels.get("disagg.dev/group-size") == ("2" if of_groups else None)
            assert labels.get("disagg.dev/world-size") == ("16" if of_groups else None)


@pytest.mark.parametrize(
    ("gang", "field"),
    [
        ({"scheduler": "Kueue"}, "spec.placement.gang.queue"),
        ({"scheduler": "Native", "queue": "q"}, "spec.placement.gang.queue"),
        ({"scheduler": "Coscheduling", "queue": "q"}, "spec.placement.gang.queue"),
        ({"scheduler": "Native", "schedulerName": "s"}, "spec.placement.gang.schedulerName"),
        ({"scheduler": "Kueue", "queue": "q", "schedulerName": "s"}, "spec.placement.gang.schedulerName"),
    ],
)
def test_what_does_not_go_together_is_refused(gang: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refusal:
        planned(EVERYTHING, gang)
    assert [problem.field for problem in refusal.value.problems] == [field]
