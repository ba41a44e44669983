"""Roles that are scaled from outside: who owns the count, what bounds it, and what is told of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from disagg_operator.reconcile.errors import BlockedError
from disagg_operator.reconcile.kinds import Object
from unit.reconcile.fake_cluster import ROOMY, SURROUNDINGS, FakeCluster, FakeDriver, deployment, refusal
from unit.reconcile.test_compute_domain import TRAY, rack
from unit.reconcile.test_groups import groups, several
from unit.reconcile.test_reconciler import converge, drive

BOUNDS = {"decode": {"minReplicas": 0, "maxReplicas": 4}}


def scaled(**spec: Any) -> FakeCluster:
    """Return a running deployment whose decode role is scaled from outside."""
    cluster = FakeCluster(deployment(**{"scaling": BOUNDS, "decode": {"replicas": 2}, **spec}))
    converge(cluster)
    return cluster


def scaler(cluster: FakeCluster, role: str = "decode") -> Object:
    return cluster.objects["DisaggScaler", f"demo-{role}"]


def said(cluster: FakeCluster, kind: str, role: str = "decode") -> Object:
    """Return a condition of a scaler."""
    conditions = scaler(cluster, role)["status"]["conditions"]
    found: Object = next(each for each in conditions if each["type"] == kind)
    return found


def running(cluster: FakeCluster, role: str = "decode") -> int:
    """Return the instances that a role is to have."""
    (found,) = (
        obj["spec"]["replicas"]
        for (kind, name), obj in cluster.objects.items()
        if kind == "StatefulSet" and f"-{role}-" in name
    )
    return int(found)


def test_a_scaler_starts_with_the_replicas_of_its_role_and_says_how_it_stands() -> None:
    cluster = scaled()
    assert cluster.names("DisaggScaler") == {"demo-decode"}
    made = scaler(cluster)
    assert made["spec"] == {"replicas": 2}
    assert made["status"] | {"conditions": []} == {
        "observedGeneration": 1,
        "replicas": 2,
        "readyReplicas": 2,
        "desiredReplicas": 2,
        "selector": "disagg.dev/deployment=demo,disagg.dev/role=decode",
        "bounds": "0-4",
        "conditions": [],
    }
    states = {each["type"]: (each["status"], each["reason"]) for each in made["status"]["conditions"]}
    assert states == {
        "ScalingActive": ("True", "CountFollowed"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
        "Ready": ("True", "AllReady"),
    }
    cluster.writes.clear()
    drive(cluster)
    assert cluster.writes == []


def test_the_count_of_the_scaler_is_followed_and_starts_no_revision() -> None:
    cluster = scaled()
    assert cluster.resource
    revision = cluster.resource["status"]["revision"]
    cluster.scale_role("decode", 3)
    converge(cluster)
    assert running(cluster) == 3
    assert scaler(cluster)["spec"] == {"replicas": 3}
    assert scaler(cluster)["status"]["desiredReplicas"] == 3
    assert cluster.resource["status"]["updateRevision"] == revision
    assert cluster.resource["status"]["roles"]["decode"]["scaler"] == "demo-decode"


def test_an_edit_of_the_deployments_replicas_does_not_fight_with_the_scaler() -> None:
    cluster = scaled()
    cluster.scale_role("decode", 3)
    converge(cluster)
    cluster.edit(decode={"replicas": 1}, prefill={"replicas": 2})
    converge(cluster)
    assert (running(cluster), scaler(cluster)["spec"]["replicas"]) == (3, 3)
    assert running(cluster, "prefill") == 2, "a role without a scaler has the replicas that are written"


@pytest.mark.parametrize(("asked", "count", "reason"), [(9, 4, "TooManyReplicas"), (0, 1, "TooFewReplicas")])
def test_bounds_hold_the_count_and_the_scaler_says_so(asked: int, count: int, reason: str) -> None:
    cluster = scaled(scaling={"decode": {"minReplicas": 1, "maxReplicas": 4}})
    cluster.scale_role("decode", asked)
    converge(cluster)
    assert running(cluster) == count
    limited = said(cluster, "ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", reason)
    assert "spec.scaling.decode" in limited["message"]
    assert scaler(cluster)["spec"]["replicas"] == asked, "what others wrote stays"


def test_a_limit_is_an_event_once() -> None:
    cluster = scaled()
    cluster.scale_role("decode", 9)
    cluster.writes.clear()
    drive(cluster)
    drive(cluster)
    assert cluster.writes.count(("event", "ScalingLimited")) == 1


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_role_scales_to_nothing_and_back(role: str) -> None:
    cluster = scaled(scaling={role: {"minReplicas": 0, "maxReplicas": 4}})
    cluster.scale_role(role, 0)
    converge(cluster)
    assert running(cluster, role) == 0
    available = cluster.condition("Available")
    assert (available["status"], available["reason"]) == ("False", "ScaledToZero")
    assert f"kubectl scale disaggscaler demo-{role} --replicas=1" in available["message"]
    assert said(cluster, "Ready", role)["reason"] == "ScaledToZero"
    cluster.scale_role(role, 1)
    converge(cluster)
    assert cluster.condition("Available")["status"] == "True"


def test_a_scaler_that_was_deleted_by_hand_comes_back_with_the_count_in_force() -> None:
    cluster = scaled()
    cluster.scale_role("decode", 4)
    converge(cluster)
    del cluster.objects["DisaggScaler", "demo-decode"]
    converge(cluster)
    assert (scaler(cluster)["spec"]["replicas"], running(cluster)) == (4, 4)


def test_a_scaler_that_lost_its_labels_gets_them_back_and_keeps_its_count() -> None:
    cluster = scaled()
    cluster.scale_role("decode", 3)
    converge(cluster)
    scaler(cluster)["metadata"]["labels"] = {}
    converge(cluster)
    assert scaler(cluster)["metadata"]["labels"]["disagg.dev/deployment"] == "demo"
    assert (scaler(cluster)["spec"]["replicas"], running(cluster)) == (3, 3)


def test_without_scaling_the_scaler_goes_and_the_written_replicas_count() -> None:
    cluster = scaled()
    cluster.scale_role("decode", 4)
    converge(cluster)
    assert cluster.resource
    cluster.resource["spec"]["scaling"] = None
    converge(cluster)
    assert cluster.names("DisaggScaler") == set()
    assert running(cluster) == 2
    assert "scaler" not in cluster.resource["status"]["roles"]["decode"]


def test_scaling_again_starts_from_what_is_written_then() -> None:
    cluster = scaled()
    cluster.scale_role("decode", 4)
    converge(cluster)
    assert cluster.resource
    cluster.resource["spec"]["scaling"] = None
    converge(cluster)
    cluster.edit(decode={"replicas": 1})
    cluster.resource["spec"]["scaling"] = BOUNDS
    converge(cluster)
    assert (scaler(cluster)["spec"]["replicas"], running(cluster)) == (1, 1)


def test_a_refused_specification_and_a_pause_leave_the_count_and_the_scaler_says_so() -> None:
    cluster = scaled()
    assert cluster.resource
    cluster.resource["metadata"]["annotations"] = {"disagg.dev/paused": "true"}
    cluster.scale_role("decode", 3)
    converge(cluster)
    assert running(cluster) == 2
    assert said(cluster, "ScalingActive")["reason"] == "Paused"
    cluster.resource["metadata"]["annotations"] = {}
    cluster.resource["spec"]["platform"] = "no-such-machine"
    converge(cluster)
    assert running(cluster) == 2
    assert said(cluster, "ScalingActive")["reason"] == "NotAccepted"
    assert cluster.resource["status"]["roles"]["decode"]["scaler"] == "demo-decode"
    cluster.resource["spec"]["platform"] = "local"
    converge(cluster)
    assert running(cluster) == 3


def test_groups_scale_by_whole_instances_and_select_their_leaders() -> None:
    cluster = several(scaling={"decode": {"maxReplicas": 4}})
    converge(cluster)
    status = scaler(cluster)["status"]
    assert status["selector"] == (
        "disagg.dev/deployment=demo,disagg.dev/role=decode,apps.kubernetes.io/pod-index=0"
    )
    assert (status["replicas"], status["desiredReplicas"]) == (2, 2)
    cluster.scale_role("decode", 4)
    converge(cluster)
    assert groups(cluster) == {"0", "1", "2", "3"}
    cluster.scale_role("decode", 1)
    converge(cluster)
    assert groups(cluster) == {"0"}, "the newest go"


def racked(driver: FakeDriver | None = None, prefill: int = 1) -> FakeCluster:
    """Return a running deployment on a GB200 rack of 18 nodes whose roles are both scaled from outside."""
    bounds = {"minReplicas": 0, "maxReplicas": 100}
    cluster = rack(driver, scaling={"prefill": bounds, "decode": bounds})
    cluster.edit(prefill={**TRAY, "replicas": prefill})
    converge(cluster)
    return cluster


def test_beyond_an_nvlink_domain_as_much_as_it_holds_is_in_force_and_the_rest_is_told() -> None:
    cluster = racked()
    cluster.scale_role("decode", 30)
    converge(cluster)
    assert cluster.condition("Accepted")["status"] == "True", "the specification is not what is wrong"
    assert running(cluster) == 17
    limited = said(cluster, "ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "NotPlannable")
    assert "30 cannot be had, and 17 is in force" in limited["message"]
    assert "31 nodes" in limited["message"]
    cluster.scale_role("decode", 3)
    converge(cluster)
    assert running(cluster) == 3
    assert said(cluster, "ScalingLimited")["status"] == "False"


def test_a_lower_bound_beyond_an_nvlink_domain_is_a_bad_edit_and_harms_nothing() -> None:
    cluster = racked()
    assert cluster.resource
    cluster.resource["spec"]["scaling"]["decode"] = {"minReplicas": 20, "maxReplicas": 100}
    converge(cluster)
    assert cluster.condition("Accepted")["status"] == "False"
    assert "21 nodes" in cluster.condition("Accepted")["message"]
    assert running(cluster) == 2


def test_both_roles_share_what_there_is_of_a_domain_in_the_ratio_of_what_they_ask_for() -> None:
    cluster = racked()
    cluster.scale_role("prefill", 9)
    cluster.scale_role("decode", 18)
    converge(cluster)
    assert (running(cluster, "prefill"), running(cluster)) == (6, 12)


def test_a_domain_of_fixed_size_keeps_the_counts_that_it_was_made_for() -> None:
    cluster = racked(FakeDriver(num_nodes_required=True))
    cluster.scale_role("decode", 5)
    converge(cluster)
    assert running(cluster) == 2
    assert said(cluster, "ScalingLimited")["reason"] == "NotPlannable"
    assert cluster.condition("Accepted")["status"] == "True"


def test_an_edit_that_the_counts_in_force_do_not_allow_is_refused_and_harms_nothing() -> None:
    cluster = racked()
    cluster.scale_role("decode", 12)
    converge(cluster)
    before = cluster.names("StatefulSet")
    cluster.edit(decode={"nodesPerReplica": 2, "parallelism": {"tensor": 8}})
    converge(cluster)
    assert cluster.condition("Accepted")["status"] == "False"
    assert (cluster.names("StatefulSet"), running(cluster)) == (before, 12)


def test_more_than_the_nodes_hold_is_asked_for_all_the_same_and_told() -> None:
    """A node pool that grows on demand only grows if pods wait."""
    cluster = scaled()
    small = replace(ROOMY.offer, allocatable={**ROOMY.offer.allocatable, "cpu": Decimal("0.5")})
    cluster.surroundings = replace(SURROUNDINGS, nodes=(replace(ROOMY, offer=small),))
    cluster.healthy = lambda name: "-decode-" not in name
    cluster.scale_role("decode", 4)
    converge(cluster)
    assert running(cluster) == 4
    ready = said(cluster, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "TooFewNodes")
    assert "0 of 4 are ready" in ready["message"]


def test_a_cluster_that_does_not_serve_scalers_says_so_and_serves_all_the_same() -> None:
    cluster = FakeCluster(deployment(scaling=BOUNDS))

    def unknown(_: str, obj: Object) -> None:
        if obj["kind"] == "DisaggScaler":
            raise refusal(404, "the server could not find the requested resource")

    cluster.before_write = unknown
    with pytest.raises(BlockedError, match="DisaggScaler demo-decode"):
        drive(cluster)
    assert running(cluster) == 1
    assert cluster.condition("Progressing")["reason"] == "Blocked"


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_rollout_from_a_role_without_instances_ends_once_it_is_scaled_up(role: str) -> None:
    """The old revision serves nobody, and must not be waited for."""
    cluster = scaled(scaling={role: {"minReplicas": 0, "maxReplicas": 4}})
    cluster.scale_role(role, 0)
    converge(cluster)
    cluster.edit(runtime={"image": "worker:2"})
    cluster.scale_role(role, 2)
    converge(cluster, rounds=20)
    assert cluster.condition("Progressing")["reason"] == "Complete"
    assert running(cluster, role) == 2


def test_scaling_in_the_middle_of_a_rollout_converges() -> None:
    cluster = scaled()
    cluster.edit(runtime={"image": "worker:2"})
    for count in (3, 0, 4, 1):
        cluster.settle()
        drive(cluster)
        cluster.scale_role("decode", count)
        cluster.settle()
        drive(cluster)
    converge(cluster, rounds=20)
    assert cluster.condition("Progressing")["reason"] == "Complete"
    assert running(cluster) == 1
