"""Whole reconciles on the fake cluster: convergence, crashes, refusals, pauses and failures."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from disagg_operator.plan import names
from disagg_operator.plan.installation import Installation
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.reconcile.errors import BlockedError, RetrySoonError
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.plans import Plans
from disagg_operator.reconcile.reconciler import REPORT_SECONDS, Outcome, Reconciler
from unit.reconcile.fake_cluster import MADE, Crash, FakeCluster, deployment, refusal

INSTALLATION = Installation("worker:1")


def reconciler(cluster: FakeCluster, installation: Installation = INSTALLATION) -> Reconciler:
    return Reconciler(cluster, cluster, cluster, cluster, cluster.verifier, cluster, Plans(installation))


def drive(cluster: FakeCluster, installation: Installation = INSTALLATION) -> Outcome:
    """Reconcile once, with an operator that has just begun."""
    return drive_on(reconciler(cluster, installation), cluster)


def drive_on(one: Reconciler, cluster: FakeCluster) -> Outcome:
    """Reconcile once."""
    return asyncio.run(one.reconcile(cluster.key))


def converge(cluster: FakeCluster, rounds: int = 10) -> None:
    """Let Kubernetes work and reconcile, until nothing is written any more."""
    for _ in range(rounds):
        cluster.settle()
        cluster.writes.clear()
        drive(cluster)
        if not cluster.writes:
            return
    raise AssertionError(f"still writing after {rounds} rounds: {cluster.writes}")


def test_the_first_status_waits_a_little_while_other_deployments_do() -> None:
    cluster = FakeCluster(deployment())
    busy = replace(reconciler(cluster), busy=lambda: True)
    outcome = drive_on(busy, cluster)
    assert ("apply", "Deployment demo-frontend") in cluster.writes
    assert cluster.resource is not None
    assert "status" not in cluster.resource
    assert outcome.again is not None
    assert 0 < outcome.again <= REPORT_SECONDS
    # The objects of the fake cluster are old by now.
    drive_on(busy, cluster)
    assert cluster.condition("Available")["reason"] == "RolesNotReady"


def test_a_first_status_that_says_available_waits_for_nothing() -> None:
    cluster = FakeCluster(deployment())
    busy = replace(reconciler(cluster), busy=lambda: True)
    drive_on(busy, cluster)
    cluster.settle()
    for obj in cluster.objects.values():
        obj["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    drive_on(busy, cluster)
    assert cluster.condition("Available")["status"] == "True"


def test_what_is_wrong_with_a_new_deployment_is_told_however_many_others_wait() -> None:
    cluster = FakeCluster(deployment(platform="nowhere"))
    drive_on(replace(reconciler(cluster), busy=lambda: True), cluster)
    assert cluster.condition("Accepted")["status"] == "False"


def test_a_first_status_does_not_wait_where_something_failed_or_scalers_count() -> None:
    conflict = refuse_stateful_sets(409)
    with pytest.raises(RetrySoonError):
        drive_on(replace(reconciler(conflict), busy=lambda: True), conflict)
    scaled = FakeCluster(deployment(scaling={"decode": {"minReplicas": 1, "maxReplicas": 4}}))
    drive_on(replace(reconciler(scaled), busy=lambda: True), scaled)
    for cluster in (conflict, scaled):
        assert cluster.condition("Accepted")["status"] == "True"


def test_a_refused_edit_before_the_first_status_loses_nothing_of_what_was_accepted() -> None:
    cluster = FakeCluster(deployment())
    drive_on(replace(reconciler(cluster), busy=lambda: True), cluster)
    assert cluster.resource is not None
    assert "status" not in cluster.resource
    cluster.resource["spec"]["platform"] = "nowhere"
    cluster.settle()
    drive(cluster)
    assert cluster.condition("Accepted")["status"] == "False"
    (revision,) = {
        obj["metadata"]["labels"][names.LABEL_REVISION]
        for (kind, _), obj in cluster.objects.items()
        if kind == "StatefulSet"
    }
    assert cluster.resource["status"]["updateRevision"] == revision
    assert cluster.resource["status"]["roles"]["decode"]["updatedReplicas"] == 1


def test_a_new_deployment_becomes_available_in_few_writes() -> None:
    cluster = FakeCluster(deployment())
    drive(cluster)
    applied = [name for verb, name in cluster.writes if verb == "apply"]
    assert len(applied) == 9
    assert cluster.condition("Available")["reason"] == "RolesNotReady"
    cluster.settle()
    drive(cluster)
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Progressing") | {"message": ""} == cluster.condition("Progressing") | {
        "status": "False",
        "reason": "Complete",
        "message": "",
    }
    assert [write for write in cluster.writes if write[0] != "apply"] == [
        ("status", "DisaggDeployment demo"),
        ("status", "DisaggDeployment demo"),
        ("event", "Available"),
    ]
    cluster.writes.clear()
    drive(cluster)
    assert cluster.writes == []


def test_mere_counts_are_written_once_in_a_while_and_news_at_once() -> None:
    cluster = FakeCluster(deployment(decode={"replicas": 5}))
    converge(cluster)
    assert cluster.resource
    entry = {"manager": "disagg-operator", "subresource": "status"}

    def decode_loses_a_pod(written: datetime, *, busy: bool = False) -> list[tuple[str, str]]:
        assert cluster.resource
        cluster.resource["metadata"]["managedFields"] = [entry | {"time": written.isoformat()}]
        name = next(name for name in cluster.names("StatefulSet") if "-decode-" in name)
        cluster.objects["StatefulSet", name]["status"]["readyReplicas"] -= 1
        cluster.writes.clear()
        drive_on(replace(reconciler(cluster), busy=lambda: busy), cluster)
        return [write for write in cluster.writes if write[0] == "status"]

    just_now, long_ago = datetime.now(UTC), datetime(2026, 1, 1, tzinfo=UTC)
    a_while_ago = just_now - timedelta(seconds=2 * REPORT_SECONDS)
    assert len(decode_loses_a_pod(just_now, busy=True)) == 1, "no longer complete: news"
    assert decode_loses_a_pod(just_now) == []
    assert decode_loses_a_pod(a_while_ago, busy=True) == []
    assert len(decode_loses_a_pod(a_while_ago)) == 1
    assert len(decode_loses_a_pod(long_ago)) == 1, "no longer available: news"
    assert cluster.condition("Available")["status"] == "False"


def test_scaling_writes_one_stateful_set_and_its_budget_and_restarts_nothing() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    before = cluster.names("StatefulSet")
    cluster.edit(decode={"replicas": 3})
    cluster.writes.clear()
    drive(cluster)
    assert [name for verb, name in cluster.writes if verb == "apply"] == [
        "PodDisruptionBudget demo-decode",
        f"StatefulSet {next(name for name in before if '-decode-' in name)}",
    ]
    converge(cluster)
    assert cluster.names("StatefulSet") == before


def test_a_surge_keeps_the_old_revision_until_the_new_one_is_ready() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    old = cluster.names("StatefulSet")
    cluster.healthy = lambda name: name in old or name.endswith("-frontend")
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    assert old < cluster.names("StatefulSet")
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Progressing")["reason"] == "RolloutInProgress"
    assert cluster.resource
    status = cluster.resource["status"]
    assert all(name.endswith(status["revision"]) for name in old)
    cluster.healthy = lambda _: True
    converge(cluster)
    assert not old & cluster.names("StatefulSet")
    assert not old & cluster.names("ConfigMap")
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_what_the_old_pods_use_goes_after_them() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    cluster.edit(runtime={"image": "worker:2"}, prefill={"replicas": 2})
    assert cluster.resource
    cluster.resource["spec"]["serviceAccountName"] = "own"
    deleted: list[list[str]] = []
    for _ in range(6):
        cluster.writes.clear()
        drive(cluster)
        deleted.append(sorted(name.split()[0] for verb, name in cluster.writes if verb == "delete"))
        cluster.settle()
    assert [found for found in deleted if found] == [
        ["StatefulSet", "StatefulSet"],
        ["ConfigMap", "RoleBinding", "Service", "ServiceAccount"],
    ]


def test_another_discovery_role_is_bound_before_the_first_is_let_go() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    cluster.writes.clear()
    drive(cluster, Installation("worker:1", discovery_role_name="renamed"))
    assert [verb for verb, name in cluster.writes if name.startswith("RoleBinding")] == ["apply", "delete"]
    (name,) = cluster.names("RoleBinding")
    assert cluster.objects["RoleBinding", name]["roleRef"]["name"] == "renamed"
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_going_back_takes_up_what_still_runs() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    old = {address: obj["metadata"]["uid"] for address, obj in cluster.objects.items()}
    cluster.healthy = lambda name: ("StatefulSet", name) in old or name.endswith("-frontend")
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    cluster.edit(runtime={"image": None})
    converge(cluster)
    assert {address: obj["metadata"]["uid"] for address, obj in cluster.objects.items()} == old


def recreating() -> FakeCluster:
    """A deployment that is replaced at once, whose pods go on ending until they are let go."""
    cluster = FakeCluster(deployment(rollout={"strategy": "Recreate"}), with_pods=True, lingering=True)
    converge(cluster)
    return cluster


def test_recreate_removes_the_old_revision_first() -> None:
    cluster = recreating()
    old, files = cluster.names("StatefulSet"), cluster.names("ConfigMap")
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    (decode,) = cluster.names("StatefulSet")
    assert decode in old, "decode ends after the last prefill pod, and nothing new is started yet"
    assert cluster.names("ConfigMap") >= files, "they may still read their files"
    assert "starts once the pods of revision" in cluster.condition("Progressing")["message"]
    cluster.lingering = False
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 2
    assert not cluster.names("StatefulSet") & old
    assert not cluster.names("ConfigMap") & files


def test_a_stateful_set_is_made_again_once_the_pods_of_its_namesake_are_gone() -> None:
    """Its controller would try to make pods of names that are taken at ever longer intervals."""
    cluster = recreating()
    old, pods = cluster.names("StatefulSet"), cluster.names("Pod")
    cluster.edit(runtime={"image": "worker:2"})
    converge(cluster)
    cluster.edit(runtime={"image": "worker:1"})
    converge(cluster)
    assert len(cluster.names("StatefulSet")) == 1
    assert cluster.names("Pod") == pods
    cluster.lingering = False
    converge(cluster)
    assert cluster.names("StatefulSet") == old


def test_pods_on_a_lost_node_hold_no_stateful_set_up() -> None:
    cluster = recreating()
    old = cluster.names("StatefulSet")
    for address in list(cluster.objects):
        if address[0] == "StatefulSet":
            del cluster.objects[address]
        elif address[0] == "Pod":
            cluster.objects[address]["metadata"]["deletionTimestamp"] = MADE
    converge(cluster)
    assert cluster.names("StatefulSet") == old


def test_a_bad_edit_changes_nothing_that_runs() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    before = {address: obj["metadata"]["resourceVersion"] for address, obj in cluster.objects.items()}
    cluster.edit(decode={"replicas": -1})
    converge(cluster)
    after = {address: obj["metadata"]["resourceVersion"] for address, obj in cluster.objects.items()}
    assert after == before
    accepted = cluster.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    assert "spec.decode.replicas" in accepted["message"]
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.resource
    assert cluster.resource["status"]["roles"]["decode"]["ready"] == "1/1"


def test_a_platform_that_an_installation_no_longer_has_changes_nothing_that_runs() -> None:
    machines = {"lab": {"node_labels": [{"name": "pool", "value": "lab", "reason": "r", "source": "s"}]}}
    with_lab = Installation("worker:1", catalogue=builtin().with_profiles(machines))
    cluster = FakeCluster(deployment(platform="lab"))
    drive(cluster, with_lab)
    cluster.settle()
    drive(cluster, with_lab)
    before = {address: obj["metadata"]["resourceVersion"] for address, obj in cluster.objects.items()}
    drive(cluster, INSTALLATION)
    after = {address: obj["metadata"]["resourceVersion"] for address, obj in cluster.objects.items()}
    assert before
    assert after == before
    assert "there is no platform 'lab'" in cluster.condition("Accepted")["message"]
    assert cluster.condition("Available")["status"] == "True"


def test_a_profile_that_changes_is_rolled_out_as_an_edit_is() -> None:
    def installation(pool: str) -> Installation:
        label = {"name": "pool", "value": pool, "reason": "r", "source": "s"}
        catalogue = builtin().with_profiles({"lab": {"node_labels": [label]}})
        return Installation("worker:1", catalogue=catalogue)

    cluster = FakeCluster(deployment(platform="lab"))
    drive(cluster, installation("a"))
    cluster.settle()
    drive(cluster, installation("a"))
    old = cluster.names("StatefulSet")
    drive(cluster, installation("b"))
    # The new revision is started beside the old one, which goes on serving until that is ready.
    assert set(old) < set(cluster.names("StatefulSet"))
    assert cluster.condition("Available")["status"] == "True"


def test_a_paused_deployment_is_left_alone_but_reported() -> None:
    cluster = FakeCluster(deployment())
    assert cluster.resource
    cluster.resource["metadata"]["annotations"] = {"disagg.dev/paused": "true"}
    converge(cluster)
    assert cluster.objects == {}
    assert cluster.condition("Progressing")["reason"] == "Paused"
    del cluster.resource["metadata"]["annotations"]
    converge(cluster)
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_drift_is_repaired() -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)
    frontend = cluster.objects["Deployment", "demo-frontend"]
    frontend["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    del cluster.objects["Service", "demo-frontend"]
    drive(cluster)
    assert [name for verb, name in cluster.writes if verb == "apply"] == [
        "Service demo-frontend",
        "Deployment demo-frontend",
    ]


def test_a_deleted_deployment_is_left_to_garbage_collection() -> None:
    cluster = FakeCluster(None)
    drive(cluster)
    assert cluster.writes == []


def refuse_stateful_sets(code: int, message: str = "exceeded quota: gpus") -> FakeCluster:
    cluster = FakeCluster(deployment())

    def before(verb: str, obj: Object) -> None:
        if verb == "apply" and obj["kind"] == "StatefulSet":
            raise refusal(code, message)

    cluster.before_write = before
    return cluster


def test_what_the_user_must_solve_is_said_in_the_status() -> None:
    cluster = refuse_stateful_sets(403)
    with pytest.raises(BlockedError):
        drive(cluster)
    progressing = cluster.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "Blocked")
    assert "exceeded quota: gpus" in progressing["message"]
    assert "StatefulSet demo-prefill-" in progressing["message"]
    cluster.before_write = lambda *_: None
    converge(cluster)
    assert cluster.condition("Progressing")["reason"] == "Complete"


@pytest.mark.parametrize(
    ("code", "reason"), [(409, "RolesNotReady"), (429, "RetryingAfterError"), (500, "RetryingAfterError")]
)
def test_what_passes_by_itself_is_tried_again(code: int, reason: str) -> None:
    cluster = refuse_stateful_sets(code)
    with pytest.raises(RetrySoonError):
        drive(cluster)
    assert cluster.condition("Progressing")["reason"] == reason


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(deployment())
    converge(cluster)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("disagg_operator.reconcile.plans.plan", broken)
    with pytest.raises(ZeroDivisionError):
        drive(cluster)
    assert cluster.condition("Progressing")["reason"] == "ReconcileError"
    assert "ZeroDivisionError: oops" in cluster.condition("Progressing")["message"]
    assert cluster.condition("Accepted")["status"] == "Unknown"
    assert cluster.condition("Available")["status"] == "True"


@pytest.mark.parametrize("effective", [False, True], ids=["before the write", "after the write"])
def test_a_crash_at_any_write_does_no_harm(effective: bool) -> None:
    """Die at each single write of a rollout, start again, and end up where no crash would have ended up."""
    expected = rolled_out(None, effective)
    for number in range(40):
        cluster = rolled_out(number, effective)
        assert cluster.objects.keys() == expected.objects.keys()
        assert cluster.condition("Progressing")["reason"] == "Complete"


def rolled_out(crash_at: int | None, effective: bool) -> FakeCluster:
    cluster = FakeCluster(deployment())
    with cluster.dying(crash_at, effective=effective):
        for image in ("worker:1", "worker:2"):
            cluster.edit(runtime={"image": image})
            try:
                converge(cluster)
            except Crash:
                converge(cluster)
    return cluster


class AnyHistory(RuleBasedStateMachine):
    """Whatever users, clusters and crashes do in whatever order: reconciling converges and then rests."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = FakeCluster(deployment())
        self.valid = True

    @rule(prefill=st.integers(0, 3), decode=st.integers(0, 3))
    def scale(self, prefill: int, decode: int) -> None:
        self.cluster.edit(prefill={"replicas": prefill}, decode={"replicas": decode})
        self.valid = True

    @rule(image=st.sampled_from(["worker:1", "worker:2", "worker:3"]))
    def change_image(self, image: str) -> None:
        self.cluster.edit(runtime={"image": image})

    @rule(strategy=st.sampled_from(["Surge", "Recreate"]))
    def change_strategy(self, strategy: str) -> None:
        self.cluster.edit(rollout={"strategy": strategy})

    @rule()
    def edit_badly(self) -> None:
        self.cluster.edit(decode={"replicas": -1})
        self.valid = False

    @rule(writes=st.integers(0, 12), effective=st.booleans())
    def crash(self, writes: int, effective: bool) -> None:
        with suppress(Crash), self.cluster.dying(writes, effective=effective):
            drive(self.cluster)

    @rule(healthy=st.sampled_from(["", "prefill", "decode", "none"]))
    def change_health(self, healthy: str) -> None:
        self.cluster.healthy = lambda name: healthy in name

    @rule()
    def settle(self) -> None:
        self.cluster.settle()

    @rule()
    def reconcile(self) -> None:
        drive(self.cluster)

    @precondition(lambda self: self.cluster.objects)
    @rule(number=st.integers(0, 30))
    def vandalise(self, number: int) -> None:
        addresses = sorted(self.cluster.objects)
        del self.cluster.objects[addresses[number % len(addresses)]]

    @rule()
    def come_to_rest(self) -> None:
        self.cluster.healthy = lambda _: True
        converge(self.cluster, rounds=12)
        drive(self.cluster)
        assert self.cluster.writes == []
        if self.valid:
            assert self.cluster.condition("Progressing")["reason"] == "Complete"
            assert len(self.cluster.names("StatefulSet")) == 2
            assert len(self.cluster.names("ConfigMap")) == 1

    @invariant()
    def everything_has_its_owner(self) -> None:
        for obj in self.cluster.objects.values():
            assert obj["metadata"]["ownerReferences"][0]["uid"] == "uid-of-demo"


# Phase.explain traces every line: it would take minutes.
AnyHistory.TestCase.settings = hypothesis_settings(
    max_examples=30,
    stateful_step_count=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
TestAnyHistory = pytest.mark.usefixtures("quiet")(AnyHistory.TestCase)
