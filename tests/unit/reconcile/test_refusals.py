"""Refused pods: when Events are looked up, which one counts, and the sentence that it becomes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import observe
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS, frontend_refusal, refusal, shortage
from unit.reconcile.fake_cluster import FakeCluster, deployment
from unit.reconcile.fake_cluster import refusal as api_refusal
from unit.reconcile.test_reconciler import drive
from unit.reconcile.test_status import NEW, OLD, workload

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOTE = (
    'create Pod demo-decode-0 in StatefulSet demo-decode failed error: pods "demo-decode-0" is forbidden: no.'
)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def stateful_set(existing: int, age: float, revision: str = NEW, **metadata: Any) -> Object:
    obj = workload("decode", 0, 2, revision)
    obj["status"]["replicas"] = existing
    obj["metadata"] |= {"creationTimestamp": ago(age), **metadata}
    return obj


def pod(age: float) -> Object:
    labels = {"disagg.dev/role": "decode", "disagg.dev/revision": NEW}
    return {
        "kind": "Pod",
        "metadata": {"name": "demo-decode-0", "labels": labels, "creationTimestamp": ago(age)},
    }


@pytest.mark.parametrize(
    ("objects", "suspects", "again"),
    [
        pytest.param([stateful_set(2, 100)], 0, None, id="nothing lacks"),
        pytest.param([stateful_set(0, 4)], 0, 6.0, id="just made"),
        pytest.param([stateful_set(0, 11)], 1, AGAIN_SECONDS, id="lacking for a while"),
        pytest.param([stateful_set(1, 900), pod(3)], 0, 7.0, id="growing"),
        pytest.param([stateful_set(1, 900), pod(800)], 1, AGAIN_SECONDS, id="stuck halfway"),
        pytest.param([stateful_set(0, 900, OLD)], 0, None, id="another revision"),
        pytest.param([stateful_set(0, 900, deletionTimestamp=ago(1))], 0, None, id="on its way out"),
    ],
)
def test_events_are_looked_up_once_pods_lack_for_a_while(
    objects: list[Object], suspects: int, again: float | None
) -> None:
    found = shortage(observe(objects), NEW, NOW)
    assert (len(found.suspects), found.again) == (suspects, again)


def event(note: str, **times: Any) -> Object:
    return {"metadata": {"creationTimestamp": ago(3000)}, "note": note, **times}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], None),
        ([event(NOTE, eventTime=ago(5))], 'pods "demo-decode-0" is forbidden: no'),
        ([event("a", deprecatedLastTimestamp=ago(60)), event("b", eventTime=ago(30))], "b"),
        ([event("a", series={"lastObservedTime": ago(10)}), event("b", eventTime=ago(30))], "a"),
        ([event("mended long ago", eventTime=ago(1300))], None),
    ],
)
def test_the_latest_event_counts_unless_it_is_old(events: list[Object], expected: str | None) -> None:
    assert refusal(events, NOW) == expected


def test_a_deployment_says_it_itself() -> None:
    obj = workload("frontend", 0, 1)
    obj["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota."}]
    assert frontend_refusal(observe([obj])) == {"frontend": "exceeded quota"}
    obj["status"]["conditions"][0]["status"] = "False"
    assert frontend_refusal(observe([obj])) == {}


def lacking_cluster() -> FakeCluster:
    cluster = FakeCluster(deployment())
    drive(cluster)
    for (kind, _), obj in cluster.objects.items():
        if kind == "StatefulSet":
            obj["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return cluster


def test_the_status_says_what_refuses_pods_and_how_to_see_it() -> None:
    cluster = lacking_cluster()
    cluster.failures = [event(NOTE, eventTime=datetime.now(UTC).isoformat())]
    drive(cluster)
    message = cluster.condition("Available")["message"]
    assert (
        'decode: 0 of 1 ready. The API server refuses further pods: pods "demo-decode-0" is forbidden: no. '
        "Change the quota, policy or webhook that does. See: kubectl describe statefulset demo-decode-"
    ) in message


def test_events_that_cannot_be_read_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forbidden(_: FakeCluster, obj: Object, reason: str) -> list[Object]:  # noqa: ARG001 - refuses all
        raise api_refusal(403)

    monkeypatch.setattr(FakeCluster, "events_about", forbidden)
    cluster = lacking_cluster()
    drive(cluster)
    assert "No pod was made yet" in cluster.condition("Available")["message"]
