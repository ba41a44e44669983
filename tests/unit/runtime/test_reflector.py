"""Reflectors against a FAKE source of lists and watches that misbehaves as real API servers do."""

# ruff: noqa: ARG002 - a fake takes the arguments of the real one
import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import pytest

from disagg_operator.plan import names
from disagg_operator.reconcile.errors import ClusterError, GoneError, NotFoundError
from disagg_operator.reconcile.kinds import CONFIG_MAP, POD, Key, Kind, Object
from disagg_operator.runtime.reflector import Reflector
from disagg_operator.runtime.store import Store
from unit.runtime.fast_loop import now, run


def config_map(name: str, owner: str = "demo", namespace: str = "ns", version: int = 1) -> Object:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {names.LABEL_DEPLOYMENT: owner},
        "resourceVersion": str(version),
        "managedFields": ["long"],
    }
    return {"metadata": metadata, "data": {"v": str(version)}}


@dataclass
class FakeSource:
    """Plays a script: each list and watch takes the next entry."""

    lists: list[list[Object] | Exception]
    watches: list[list[tuple[str, Object] | float | Exception]] = field(default_factory=list)
    since: list[str] = field(default_factory=list)
    page: int = 200

    async def list_page(
        self, kind: Kind, namespace: str | None, selector: str, token: str | None, limit: int
    ) -> Object:
        assert selector == "managed"
        assert kind in (CONFIG_MAP, POD)
        assert limit == 200
        script = self.lists[0]
        start = int(token or 0)
        if isinstance(script, Exception):
            self.lists.pop(0)
            raise script
        more = start + self.page < len(script)
        if not more:
            self.lists.pop(0)
        token = str(start + self.page) if more else ""
        return {
            "items": script[start : start + self.page],
            "metadata": {"resourceVersion": f"list{len(self.lists)}", "continue": token},
        }

    async def watch(
        self, kind: Kind, namespace: str | None, selector: str, since: str, *, lasting: float, quiet: float
    ) -> AsyncGenerator[Object]:
        self.since.append(since)
        for entry in self.watches.pop(0) if self.watches else [1e9]:
            if isinstance(entry, Exception):
                raise entry
            if isinstance(entry, float):
                await asyncio.sleep(min(entry, quiet))
                if entry >= quiet:
                    raise TimeoutError
                continue
            kind_of_event, obj = entry
            yield {"type": kind_of_event, "object": obj}
        await asyncio.sleep(1)


@dataclass
class Watched:
    """What a reflector did within some time."""

    store: Store
    changed: list[Key] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    synced_at: float | None = None


def reflect(
    source: FakeSource,
    seconds: float = 30,
    namespace: str | None = None,
    check: Callable[[Reflector[Key]], None] | None = None,
    refused: Callable[[], list[Key]] | None = None,
) -> Watched:
    """Run a reflector for a while."""
    found = Watched(Store(CONFIG_MAP))

    async def main() -> None:
        reflector = Reflector(
            source,
            found.store,
            namespace,
            "managed",
            changed=found.changed.append,
            restarted=lambda _, reason: found.restarts.append(reason),
            refused=refused,
        )
        task = asyncio.create_task(reflector.run())
        waiting = asyncio.create_task(reflector.synced.wait())
        waiting.add_done_callback(lambda _: setattr(found, "synced_at", now()))
        await asyncio.sleep(seconds)
        if check:
            check(reflector)
        task.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    return found


def in_store(watched: Watched, owner: str = "demo") -> dict[str, str]:
    return {obj["metadata"]["name"]: obj["data"]["v"] for obj in watched.store.of(Key("ns", owner))}


def test_a_list_and_a_watch_fill_the_store() -> None:
    events = [
        ("ADDED", config_map("b", version=2)),
        ("MODIFIED", config_map("a", version=3)),
        ("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        ("DELETED", config_map("b", version=10)),
    ]
    source = FakeSource([[config_map("a")]], [[*events, ClusterError(0, "Closed", "reset")], []])
    found = reflect(source)
    assert in_store(found) == {"a": "3"}
    assert source.since[:2] == ["list0", "10"], "the watch goes on where it broke off"
    assert set(found.changed) == {Key("ns", "demo")}


def test_long_lists_come_in_pages() -> None:
    source = FakeSource([[config_map(str(number)) for number in range(5)]], page=2)
    assert len(in_store(reflect(source))) == 5


def test_what_vanished_behind_an_expired_watch_is_forgotten_and_its_owner_told() -> None:
    source = FakeSource(
        [
            [config_map("a", "one"), config_map("b", "two")],
            [config_map("a", "one", version=5)],
        ],
        [[GoneError(410, "Expired", "too old")]],
    )
    found = reflect(source)
    assert in_store(found, "one") == {"a": "5"}
    assert in_store(found, "two") == {}
    assert found.changed.count(Key("ns", "two")) == 2, "once when it was listed, once when it was gone"
    assert "expired" in found.restarts


def test_a_list_of_one_namespace_says_nothing_about_the_others() -> None:
    store = Store(CONFIG_MAP)
    store.put(config_map("a", namespace="x"))
    store.put(config_map("b", namespace="y"))
    assert store.keep_only("x", set()) == {Key("x", "demo")}
    assert len(store) == 1


def test_a_silent_watch_is_started_anew() -> None:
    source = FakeSource([[config_map("a")]], [[1e6], [("ADDED", config_map("b", version=4))]])
    found = reflect(source, seconds=100)
    assert found.restarts[0] == "stalled"
    assert in_store(found) == {"a": "1", "b": "4"}


def test_a_list_that_fails_is_tried_again_with_pauses() -> None:
    failure = ClusterError(500, "InternalError", "etcd is sad")
    found = reflect(FakeSource([failure, failure, failure, [config_map("a")]]), seconds=60)
    assert found.restarts == ["error"] * 3
    assert found.synced_at is not None
    assert 0.5 + 1 + 2 <= found.synced_at <= 1.5 * (0.5 + 1 + 2)
    assert in_store(found) == {"a": "1"}


def test_the_api_server_is_left_alone_for_as_long_as_it_asks() -> None:
    busy = ClusterError(429, "TooManyRequests", "busy", retry_after=20)
    found = reflect(FakeSource([busy, [config_map("a")]]), seconds=60)
    assert found.synced_at is not None
    assert 20 <= found.synced_at <= 30


def test_watches_that_expire_or_end_at_once_make_no_flood() -> None:
    """Something in between may answer so for ever."""
    expired: list[list[tuple[str, Object] | float | Exception]] = [
        [GoneError(410, "Expired", "too old")]
    ] * 500
    found = reflect(FakeSource([[config_map("a")]] * 500, expired), seconds=120)
    assert 15 <= len(found.restarts) <= 40
    assert set(found.restarts) == {"expired"}


def test_what_may_be_missing_holds_nothing_up_and_is_asked_for_once_in_a_while() -> None:
    refusal = ClusterError(403, "Forbidden", "nodes is forbidden")
    told: list[Key] = []

    def refused() -> list[Key]:
        told.append(Key("ns", "demo"))
        return told

    source = FakeSource([refusal, [config_map("a")]])
    found = reflect(source, seconds=550, refused=refused)
    assert found.synced_at == 0
    assert found.restarts == ["refused"]
    assert found.changed == told == [Key("ns", "demo")]
    found = reflect(FakeSource([refusal, [config_map("a")]]), seconds=1000, refused=refused)
    assert in_store(found) == {"a": "1"}


def test_what_is_not_served_is_asked_for_in_its_own_time_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    missing = NotFoundError(404, "NotFound", "no such kind")
    source = FakeSource([missing, missing, [config_map("a")]])
    store = Store(CONFIG_MAP)
    refused: list[float] = []

    def note() -> tuple[Key, ...]:
        refused.append(now())
        return ()

    async def main() -> float:
        reflector = Reflector(
            source,
            store,
            None,
            "managed",
            changed=lambda _: None,
            refused=note,
            rest=60,
        )
        task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        synced = now()
        await asyncio.sleep(240)
        task.cancel()
        return synced

    with caplog.at_level(logging.INFO):
        assert run(main()) == 0, "nobody waits for it"
    assert len(refused) == 2
    assert 60 <= refused[1] <= 90
    assert len(store) == 1
    assert caplog.text.count("no such kind; asked again every 1 min") == 1


def test_silence_is_measured_from_the_last_word() -> None:
    def check(reflector: Reflector[Key]) -> None:
        assert reflector.silence() == pytest.approx(30, abs=1)

    reflect(FakeSource([[config_map("a")]]), seconds=30, check=check)


def test_an_object_that_changes_its_owner_tells_both() -> None:
    source = FakeSource([[config_map("a", "one")]], [[("MODIFIED", config_map("a", "two", version=2))]])
    found = reflect(source, seconds=0.5)
    assert found.changed == [Key("ns", "one"), Key("ns", "one"), Key("ns", "two")]


def test_the_store_keeps_what_is_read_and_drops_the_rest() -> None:
    store = Store(POD)
    pod = config_map("p") | {
        "spec": {"containers": [], "nodeName": "a"},
        "status": {"conditions": [{"type": "Ready"}], "hostIP": "10.0.0.1"},
    }
    store.put(pod)
    (kept,) = store.of(Key("ns", "demo"))
    assert kept["kind"] == "Pod"
    assert kept["spec"] == {"nodeName": "a"}
    assert "managedFields" not in kept["metadata"]
    assert kept["status"] == {"conditions": [{"type": "Ready"}]}
