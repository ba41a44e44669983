"""What somebody else did to a deployment's objects, and what the API server made of them."""

import copy
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from disagg_operator.reconcile.applying.diff import stamp
from disagg_operator.reconcile.applying.repairs import Repairs, damage
from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.reconciler import Outcome
from unit.reconcile.fake_cluster import FakeCluster, deployment
from unit.reconcile.test_reconciler import converge, drive, drive_on, reconciler

KEY = Key("ns", "demo")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a", "namespace": "ns", "labels": {}},
    "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"a": "b"}},
}


def events(cluster: FakeCluster) -> list[str]:
    return [what for verb, what in cluster.writes if verb == "event"]


def decode_set(cluster: FakeCluster) -> Object:
    (name,) = [name for name in cluster.names("StatefulSet") if "-decode-" in name]
    return cluster.objects["StatefulSet", name]


def test_what_somebody_changed_is_put_right_with_an_event_and_what_the_user_wants_without() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    decode_set(cluster)["spec"]["replicas"] = 5
    cluster.writes.clear()
    drive(cluster)
    assert "Repaired" in events(cluster)
    assert decode_set(cluster)["spec"]["replicas"] == 1
    converge(cluster)
    cluster.edit(decode={"replicas": 2})
    drive(cluster)
    assert "Repaired" not in events(cluster)


def test_what_somebody_deleted_is_made_again_with_an_event_and_what_is_new_without() -> None:
    cluster = FakeCluster(deployment())
    drive(cluster)
    assert "Repaired" not in events(cluster)
    converge(cluster)
    del cluster.objects["Service", "demo-frontend"]
    cluster.vanished.add(("Service", "demo-frontend"))
    cluster.writes.clear()
    drive(cluster)
    assert ("Service", "demo-frontend") in cluster.objects
    assert "Repaired" in events(cluster)


def test_damage_is_told_by_field_and_value() -> None:
    wanted = stamp(SERVICE)
    live = copy.deepcopy(wanted)
    assert damage(wanted, live, ()) == ""
    live["spec"]["ports"][0]["port"] = 81
    del live["spec"]["selector"]["a"]
    assert damage(wanted, live, ()) == (
        "Service a was changed, and is put right: spec.ports[http].port was 81, not 80, "
        "spec.selector.a was missing"
    )
    assert damage(stamp({**SERVICE, "spec": {}}), live, ()) == ""
    assert damage(wanted, None, {("Service", "a")}) == "Service a was deleted, and is made again"
    assert damage(wanted, None, ()) == ""


def test_two_controllers_that_disagree_do_not_keep_each_other_busy() -> None:
    repairs, at, made = Repairs(), NOW, []
    while at < NOW + timedelta(hours=1):
        if repairs.may_repair(KEY, SERVICE, at):
            made.append(at)
            again = repairs.note(KEY, SERVICE, at)
            assert again == (len(made) > 2)
        at += timedelta(seconds=1)
    pauses = [(later - sooner).total_seconds() for sooner, later in pairwise(made)]
    assert pauses[:7] == [1, 10, 20, 40, 80, 160, 300]
    assert set(pauses[7:]) == {300}


def test_an_object_that_was_left_alone_is_put_right_at_once() -> None:
    repairs = Repairs()
    for _ in range(5):
        repairs.note(KEY, SERVICE, NOW)
    assert not repairs.may_repair(KEY, SERVICE, NOW + timedelta(seconds=5))
    assert [*repairs.due(KEY, NOW)] == [80]
    assert not [*repairs.due(KEY, NOW)]
    assert repairs.may_repair(KEY, SERVICE, NOW + timedelta(minutes=11))
    assert not repairs.note(KEY, SERVICE, NOW + timedelta(minutes=11))


def test_a_repair_that_waits_is_made_when_it_is_due() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    one = reconciler(cluster)

    def spoil() -> Outcome:
        decode_set(cluster)["spec"]["replicas"] = 5
        return drive_on(one, cluster)

    assert spoil().again != 10
    spoil()
    left = spoil().again
    assert decode_set(cluster)["spec"]["replicas"] == 5
    assert left is not None
    assert 0 < left <= 10


def renaming(obj: Object) -> Object:
    """Store an object as a webhook makes it that knows a mirror of images."""
    for container in obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        container["image"] = f"mirror/{container['image']}"
    return obj


def dropping(obj: Object) -> Object:
    """Store an object as an API server does that has a feature gate off."""
    obj.get("spec", {}).get("template", {}).get("spec", {}).pop("terminationGracePeriodSeconds", None)
    return obj


def test_a_field_that_is_not_stored_is_written_once_and_told() -> None:
    cluster = FakeCluster(deployment())
    cluster.stored_as = dropping
    converge(cluster)
    ready = cluster.condition("PlatformReady")
    assert ready["reason"] == "FieldsNotStored"
    assert "spec.template.spec.terminationGracePeriodSeconds" in ready["message"]
    cluster.stored_as = lambda obj: obj
    cluster.edit(decode={"replicas": 2}, prefill={"replicas": 2}, frontend={"replicas": 2})
    converge(cluster)
    assert cluster.condition("PlatformReady")["reason"] == "PlatformReady"


def test_a_field_that_a_webhook_changes_is_written_once_and_told() -> None:
    cluster = FakeCluster(deployment())
    cluster.stored_as = renaming
    converge(cluster)
    ready = cluster.condition("PlatformReady")
    assert ready["reason"] == "PlatformReady"
    assert "spec.template.spec.containers[worker].image" in ready["message"]
    decode_set(cluster)["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    cluster.writes.clear()
    drive(cluster)
    assert "Repaired" in events(cluster)
