"""Workers, health, Events and log lines, by a clock of their own."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import cast

import pytest

from disagg_operator.reconcile.errors import BlockedError, ClusterError, RetrySoonError, classify
from disagg_operator.reconcile.kinds import Key, Kind, Object
from disagg_operator.reconcile.reconciler import Outcome, Reconciler, TransportShown
from disagg_operator.runtime import logs
from disagg_operator.runtime.controller import Controller
from disagg_operator.runtime.events import BURST, EventRecorder
from disagg_operator.runtime.health import Health
from disagg_operator.runtime.leader import LeaseLostError
from disagg_operator.runtime.metrics import Metrics
from unit.reconcile.fake_cluster import deployment
from unit.runtime.fast_loop import now, run

KEY = Key("ns", "demo")


class Scripted:
    """A FAKE reconciler that does as it is told, once for each reconcile, then reports success."""

    def __init__(self, *outcomes: Exception | Outcome | float) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []

    async def reconcile(self, key: Key) -> Outcome:
        assert key == KEY
        self.times.append(now())
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome(there=True)
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return Outcome(there=True)
        return outcome


def controlled(
    scripted: Scripted,
    seconds: float,
    check: Callable[[Health], None] = lambda _: None,
    status: Callable[[Key], Object] = lambda _: {},
) -> Metrics:
    metrics = Metrics()

    async def main() -> None:
        health = Health(metrics)
        controller = Controller(cast("Reconciler", scripted), metrics, health, 2, 600.0, lambda _: 0, status)
        task = asyncio.create_task(controller.run())
        controller.queue.add(KEY)
        done, _ = await asyncio.wait([task], timeout=seconds)
        check(health)
        for ended in done:
            await ended
        task.cancel()
        await asyncio.wait([task])

    run(main())
    return metrics


def count(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("disagg_reconciles_total", {"result": result})


def test_a_deployment_is_looked_at_again_though_nothing_happened() -> None:
    scripted = Scripted()
    metrics = controlled(scripted, 6000)
    gaps = [after - before for before, after in zip(scripted.times, scripted.times[1:], strict=False)]
    assert len(gaps) >= 8
    assert all(480 <= gap <= 720 for gap in gaps)
    assert count(metrics, "done") == len(scripted.times)


def test_a_report_that_was_put_off_is_made_up_for() -> None:
    scripted = Scripted(Outcome(there=True, again=2.0))
    controlled(scripted, 60)
    assert scripted.times == [0, pytest.approx(2)]


def test_one_that_is_gone_is_forgotten() -> None:
    scripted = Scripted(Outcome(there=False))
    metrics = controlled(scripted, 6000)
    assert len(scripted.times) == 1
    assert count(metrics, "gone") == 1


def test_the_transport_of_a_deployment_is_shown_as_long_as_it_is_there() -> None:
    metrics = Metrics()
    one, two = Key("ns", "one"), Key("ns", "two")
    metrics.show_transport(one, TransportShown("False", "NIXL/UCX tcp", "WorseTransport"))
    metrics.show_transport(two, TransportShown("Unknown", "NIXL/UCX", "Measuring"))
    metrics.show_transport(two, TransportShown("True", "NIXL/UCX srd", "Verified"))
    lines = [
        line
        for line in metrics.render().decode().splitlines()
        if line.startswith("disagg_transport_verified{")
    ]
    assert sorted(lines) == [
        'disagg_transport_verified{deployment="one",namespace="ns",reason="WorseTransport",'
        'transport="NIXL/UCX tcp"} 0.0',
        'disagg_transport_verified{deployment="two",namespace="ns",reason="Verified",'
        'transport="NIXL/UCX srd"} 1.0',
    ]
    metrics.show_transport(one, None)
    metrics.show_transport(one, None)
    metrics.show_transport(two, None)
    assert "disagg_transport_verified{" not in metrics.render().decode()


def shown(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a gauge of deployments, by the labels that are its own."""
    (family,) = [each for each in metrics.registry.collect() if each.name == name]
    return {
        tuple(
            value for label, value in sample.labels.items() if label not in ("namespace", "deployment")
        ): sample.value
        for sample in family.samples
    }


@pytest.mark.parametrize("ended", [Outcome(there=True), BlockedError("quota"), ValueError("bug")])
def test_what_the_status_of_a_deployment_says_is_shown_however_its_reconcile_ended(
    ended: Exception | Outcome,
) -> None:
    conditions = [
        {"type": "Available", "status": "False", "reason": "RolesNotReady"},
        {"type": "PlatformReady", "status": "Unknown", "reason": "NotChecked"},
    ]
    status = {"conditions": conditions, "roles": {"decode": {"desiredReplicas": 3, "readyReplicas": 2}}}
    metrics = controlled(Scripted(ended), 0.2, status={KEY: status}.__getitem__)
    assert shown(metrics, "disagg_deployment_condition") == {
        ("Available", "RolesNotReady"): 0,
        ("PlatformReady", "NotChecked"): -1,
    }
    assert shown(metrics, "disagg_deployment_instances") == {("decode", "wanted"): 3, ("decode", "ready"): 2}


def test_conditions_of_yesterday_and_of_deployments_that_are_gone_are_shown_no_more() -> None:
    metrics = Metrics()
    one = {"type": "Available", "status": "False", "reason": "RolesNotReady"}
    metrics.show_status(KEY, {"conditions": [one]})
    metrics.show_status(KEY, {"conditions": [{**one, "status": "True", "reason": "ServingRequests"}]})
    assert shown(metrics, "disagg_deployment_condition") == {("Available", "ServingRequests"): 1}
    metrics.show_status(KEY, {})
    assert not shown(metrics, "disagg_deployment_condition")


def test_results_are_counted_from_zero_so_that_the_first_one_is_an_increase() -> None:
    results = ("done", "gone", "retry", "blocked", "error")
    assert [count(Metrics(), result) for result in results] == [0] * len(results)


def test_failures_are_tried_again_ever_more_rarely_and_counted_by_who_must_act() -> None:
    scripted = Scripted(
        RetrySoonError("busy"), RetrySoonError("told to wait", 40.0), BlockedError("quota"), ValueError("bug")
    )
    metrics = controlled(scripted, 100)
    gaps = [after - before for before, after in zip(scripted.times, scripted.times[1:], strict=False)]
    assert 0.5 <= gaps[0] <= 0.75
    assert gaps[1] == pytest.approx(40)
    assert 2 <= gaps[2] <= 3
    assert 4 <= gaps[3] <= 6
    assert [count(metrics, result) for result in ("retry", "blocked", "error", "done")] == [2, 1, 1, 1]


def test_a_lost_lease_ends_all_workers() -> None:
    with pytest.raises(LeaseLostError):
        controlled(Scripted(LeaseLostError("lost")), 10)


def test_a_reconcile_that_hangs_is_unhealthy() -> None:
    def check(health: Health) -> None:
        assert health.faults() == ["a reconcile takes longer than 300 s"]

    controlled(Scripted(1e6), 400, check)
    controlled(Scripted(), 400, lambda health: None if health.faults() == [] else pytest.fail("healthy"))


def test_a_silent_watch_is_unhealthy() -> None:
    def check(health: Health) -> None:
        health.silence = lambda: 301.0
        assert health.faults() == ["a watch has been silent for 301 s"]

    controlled(Scripted(), 1, check)


class FakeEvents:
    """A FAKE place for Events."""

    def __init__(self) -> None:
        self.posted: list[Object] = []
        self.failing = False

    async def create(self, kind: Kind, obj: Object) -> Object:
        assert kind.plural == "events"
        if self.failing:
            raise ClusterError(403, "Forbidden", "no")
        self.posted.append(obj)
        return obj


def test_events_are_posted_once_in_a_while() -> None:
    events, dropped = FakeEvents(), list[int]()

    async def main() -> None:
        recorder = EventRecorder(events, "operator-1", dropped=lambda: dropped.append(1))
        task = asyncio.create_task(recorder.run())
        for _ in range(3):
            recorder.record(deployment(), "Normal", "Available", "Requests are served.")
            await asyncio.sleep(100)
        await asyncio.sleep(600)
        recorder.record(deployment(), "Normal", "Available", "Requests are served.")
        await asyncio.sleep(10)
        for number in range(BURST + 5):
            recorder.record(deployment(), "Warning", "Blocked", f"quota {number}")
        events.failing = True
        await asyncio.sleep(100)
        task.cancel()

    run(main())
    assert [event["note"] for event in events.posted] == ["Requests are served."] * 2
    assert events.posted[0]["regarding"]["uid"] == "uid-of-demo"
    assert len(dropped) == 5


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, RetrySoonError),
        (409, RetrySoonError),
        (429, RetrySoonError),
        (503, RetrySoonError),
        (403, BlockedError),
        (404, BlockedError),
        (422, BlockedError),
        (405, ClusterError),
    ],
)
def test_answers_are_sorted_by_who_must_act(code: int, expected: type[Exception]) -> None:
    found = classify(ClusterError(code, "R", "why", 7.0), "apply ConfigMap a")
    assert type(found) is expected
    if isinstance(found, RetrySoonError):
        assert found.after == 7.0
        assert found.notable == (code != 409)
    if expected is not ClusterError:
        assert "apply ConfigMap a: why" in str(found)


def test_log_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("INFO", "json")
        logging.getLogger("x").info("hello", extra={"deployment": "ns/demo"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "x", "hello")
    assert line["deployment"] == "ns/demo"
    assert line["time"]


def test_deployments_that_were_looked_at_are_counted_until_they_are_gone() -> None:
    def checked(*outcomes: Outcome) -> float | None:
        metrics = controlled(Scripted(*outcomes), 6000 if len(outcomes) > 1 else 60)
        return metrics.registry.get_sample_value("disagg_deployments_checked")

    assert checked(Outcome(there=True)) == 1
    assert checked(Outcome(there=True), Outcome(there=False)) == 0


def test_reconciles_that_wait_for_nothing_leave_the_event_loop_to_others() -> None:
    reconciled: list[int] = []

    class Immediate:
        """A FAKE reconciler that never waits, as where there is nothing to write."""

        async def reconcile(self, _: Key) -> Outcome:
            reconciled.append(passes)
            return Outcome(there=True)

    passes = 0

    async def main() -> None:
        nonlocal passes
        metrics = Metrics()
        controller = Controller(
            cast("Reconciler", Immediate()), metrics, Health(metrics), 8, 600.0, lambda _: 0, lambda _: {}
        )
        for number in range(200):
            controller.queue.add(Key("ns", f"demo-{number}"))
        task = asyncio.create_task(controller.run())
        while len(reconciled) < 200:
            await asyncio.sleep(0)
            passes += 1
        task.cancel()
        await asyncio.wait([task])

    run(main())
    assert max(reconciled.count(each) for each in reconciled) == 1


@pytest.mark.parametrize(("objects", "pause"), [(0, 0.25), (12, 0.25), (2000, 2.0)])
def test_children_of_a_large_deployment_are_looked_at_more_rarely(objects: int, pause: float) -> None:
    scripted = Scripted()

    async def main() -> None:
        metrics = Metrics()
        controller = Controller(
            cast("Reconciler", scripted), metrics, Health(metrics), 2, 600.0, lambda _: objects, lambda _: {}
        )
        task = asyncio.create_task(controller.run())
        for _ in range(100):
            controller.child_changed(KEY)
            await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

    run(main())
    gaps = [after - before for before, after in zip(scripted.times, scripted.times[1:], strict=False)]
    assert scripted.times[0] == pytest.approx(pause)
    assert all(pause - 0.001 <= gap <= pause + 0.101 for gap in gaps)


def test_many_deployments_at_the_same_time_make_it_busy() -> None:
    async def main() -> None:
        metrics = Metrics()
        reconciler = cast("Reconciler", Scripted())
        controller = Controller(reconciler, metrics, Health(metrics), 2, 600.0, lambda _: 0, lambda _: {})
        told = []
        for number in range(5):
            controller.queue.add(Key("ns", str(number)))
            told.append(controller.busy())
        assert told == [False, False, False, True, True]
        await controller.queue.get()
        assert controller.busy(), "what is under way counts"

    run(main())
