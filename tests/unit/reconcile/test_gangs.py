"""Gang scheduling in reconciles: what is made, when again, and what changes of the cluster do not do."""

from typing import Any

from disagg_operator.plan.gang import APIS
from disagg_operator.reconcile.kinds import Kind, Object, gang_kind
from disagg_operator.reconcile.preflight.needs import WORKER_METADATA
from disagg_operator.reconcile.preflight.snapshot import ClusterSnapshot
from unit.reconcile.fake_cluster import SURROUNDINGS, FakeCluster, refusal
from unit.reconcile.test_groups import SEVERAL, several
from unit.reconcile.test_reconciler import converge, drive

NATIVE = Kind("scheduling.k8s.io/v1beta1", "PodGroup", "podgroups")


def serving(*kinds: Kind) -> ClusterSnapshot:
    served = {gang_kind(api): gang_kind(api) in kinds for api in APIS}
    return ClusterSnapshot(None, "", frozenset(), {WORKER_METADATA: True, **served})


def native(**spec: Any) -> FakeCluster:
    cluster = several(**spec)
    cluster.surroundings = serving(NATIVE)
    return cluster


def pod_groups(cluster: FakeCluster) -> dict[str, Object]:
    return {name: obj for (kind, name), obj in cluster.secrets.items() if kind == "PodGroup"}


def test_each_instance_has_a_podgroup_that_goes_with_its_stateful_set() -> None:
    cluster = native()
    converge(cluster)
    made = pod_groups(cluster)
    assert len(made) == 2
    for name, group in made.items():
        stateful_set = cluster.objects["StatefulSet", name]
        assert [each["uid"] for each in group["metadata"]["ownerReferences"]] == [
            stateful_set["metadata"]["uid"]
        ]
        assert stateful_set["spec"]["template"]["spec"]["schedulingGroup"] == {"podGroupName": name}


def test_one_that_was_deleted_is_made_again_while_pods_wait_for_it() -> None:
    cluster = native()
    converge(cluster)
    gone = next(iter(pod_groups(cluster)))
    del cluster.secrets["PodGroup", gone]
    drive(cluster)
    assert gone in pod_groups(cluster)


def test_new_instances_get_their_own() -> None:
    cluster = native()
    converge(cluster)
    cluster.edit(decode={"replicas": 3})
    converge(cluster)
    assert len(pod_groups(cluster)) == 3


def test_constraints_that_the_api_server_refuses_are_left_out() -> None:
    cluster = native(placement={"group": {"topologyKey": "example.com/place"}})

    def refuse(verb: str, obj: Object) -> None:
        if verb == "create" and "schedulingConstraints" in obj.get("spec", {}):
            raise refusal(422, "spec.schedulingConstraints: Forbidden")

    cluster.before_write = refuse
    converge(cluster)
    assert len(pod_groups(cluster)) == 2
    assert all(
        group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}
        for group in pod_groups(cluster).values()
    )


def test_what_the_cluster_learns_later_restarts_nothing() -> None:
    cluster = several()
    cluster.surroundings = serving()
    converge(cluster)
    before = cluster.names("StatefulSet")
    cluster.surroundings = serving(NATIVE)
    converge(cluster)
    assert cluster.names("StatefulSet") == before
    assert not pod_groups(cluster)
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    assert cluster.names("StatefulSet") != before
    assert len(pod_groups(cluster)) == 2


def test_what_the_cluster_unlearns_restarts_nothing_and_is_told() -> None:
    cluster = native()
    converge(cluster)
    before = cluster.names("StatefulSet")
    cluster.surroundings = serving()
    drive(cluster)
    assert cluster.names("StatefulSet") == before
    assert cluster.condition("PlatformReady")["reason"] == "GangSchedulerMissing"


def test_a_scheduler_that_is_not_there_harms_nothing_that_runs() -> None:
    cluster = several()
    cluster.surroundings = serving()
    converge(cluster)
    before = cluster.names("StatefulSet")
    cluster.edit(placement={"gang": {"scheduler": "KAI"}}, decode=dict(SEVERAL))
    converge(cluster)
    assert cluster.names("StatefulSet") == before
    ready = cluster.condition("PlatformReady")
    assert ready["reason"] == "GangSchedulerMissing"
    assert "KAI" in ready["message"]
    assert "spec.placement.gang.scheduler" in ready["message"]
    assert cluster.condition("Progressing")["reason"] == "PlatformNotReady"
    assert cluster.condition("Available")["status"] == "True"


def test_the_usual_surroundings_know_nothing_of_gangs() -> None:
    assert not {gang_kind(api) for api in APIS} & set(SURROUNDINGS.served)
