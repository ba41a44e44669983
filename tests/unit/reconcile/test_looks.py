"""Events are asked for once in a while, however often a deployment is reconciled."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.reporting.looks import Looks
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS
from unit.reconcile.fake_cluster import FakeCluster
from unit.reconcile.test_reconciler import reconciler
from unit.reconcile.test_refusals import lacking_cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("default", "demo")
ABOUT = ("uid", "FailedMount")


class Asked:
    """Counts how often Events are asked for."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> list[Object]:
        self.times += 1
        return [{"note": str(self.times)}]


@pytest.mark.parametrize(
    ("seconds", "times"),
    [(1.0, 1), (AGAIN_SECONDS - 1, 1), (AGAIN_SECONDS, 2), (-1.0, 2)],
    ids=["soon", "before the pause is over", "after it", "by a clock that was set back"],
)
async def test_what_events_told_holds_for_a_while(seconds: float, times: int) -> None:
    looks, asked = Looks(), Asked()
    await looks.events(KEY, ABOUT, NOW, asked)
    found = await looks.events(KEY, ABOUT, NOW + timedelta(seconds=seconds), asked)
    assert (asked.times, found) == (times, [{"note": str(times)}])


async def test_each_object_and_each_deployment_is_looked_at() -> None:
    looks, asked = Looks(), Asked()
    for key in (KEY, Key("default", "other")):
        for about in (ABOUT, ("other", ABOUT[1])):
            await looks.events(key, about, NOW, asked)
    assert asked.times == 4
    looks.forget(KEY)
    await looks.events(KEY, ABOUT, NOW, asked)
    assert asked.times == 5


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
