"""Events are asked for once in a while, however often a deployment is reconciled."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.reporting.looks import AT_ONCE, PER_SECOND, Looks
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS
from unit.reconcile.fake_cluster import FakeCluster
from unit.reconcile.test_reconciler import reconciler
from unit.reconcile.test_refusals import lacking_cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("default", "demo")
TOPIC = ("decode", "FailedMount")


class Asked:
    """Counts how often Events are asked for."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> list[Object]:
        self.times += 1
        return [{"note": str(self.times)}]


@pytest.mark.parametrize(
    ("seconds", "uid", "times", "told"),
    [
        (1.0, "a", 1, "1"),
        (AGAIN_SECONDS - 1, "a", 1, "1"),
        (AGAIN_SECONDS, "a", 2, "2"),
        (-1.0, "a", 2, "2"),
        (9.0, "b", 1, ""),
        (10.0, "b", 2, "2"),
    ],
    ids=[
        "soon",
        "before the pause is over",
        "after it",
        "by a clock that was set back",
        "another pod, soon",
        "another pod, later",
    ],
)
async def test_what_events_told_holds_for_a_while(seconds: float, uid: str, times: int, told: str) -> None:
    looks, asked = Looks(), Asked()
    await looks.events(KEY, TOPIC, "a", NOW, asked)
    found = await looks.events(KEY, TOPIC, uid, NOW + timedelta(seconds=seconds), asked)
    assert (asked.times, [each["note"] for each in found]) == (times, [told] if told else [])


async def test_each_role_and_each_deployment_is_looked_at() -> None:
    looks, asked = Looks(), Asked()
    for key in (KEY, Key("default", "other")):
        for topic in (TOPIC, ("prefill", TOPIC[1])):
            await looks.events(key, topic, "a", NOW, asked)
    assert asked.times == 4
    looks.forget(KEY)
    await looks.events(KEY, TOPIC, "a", NOW, asked)
    assert asked.times == 5


async def test_however_many_deployments_wait_few_events_are_asked_for() -> None:
    looks, asked = Looks(), Asked()

    async def look(second: int) -> None:
        for number in range(1000):
            at = NOW + timedelta(seconds=second)
            await looks.events(Key("default", f"d{number}"), TOPIC, "a", at, asked)

    await look(0)
    assert asked.times == AT_ONCE
    for second in range(1, 6):
        await look(second)
    assert asked.times == AT_ONCE + 5 * PER_SECOND


def test_reconciles_that_follow_each_other_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def told(_: FakeCluster, obj: Object, reason: str) -> list[Object]:
        asked.append(f"{reason} {obj['metadata']['name']}")
        return []

    cluster = lacking_cluster()
    monkeypatch.setattr(FakeCluster, "events_about", told)
    one = reconciler(cluster)
    for _ in range(3):
        asyncio.run(one.reconcile(cluster.key))
    assert len(asked) == len(set(asked)) == 2
