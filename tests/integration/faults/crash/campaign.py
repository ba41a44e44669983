"""Crashes, many deployments at a time, each at a point of its own, and what must hold afterwards. TEST TOOL.

A round makes as many deployments as it has points, brings each to its point (`gate`), kills the operator
while all of them are held there, starts it again in the same pod, and compares each deployment with
undisturbed ones. A point that a run does not come to (it had a status less to write) is tried again.
"""

import difflib
import secrets
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from integration.faults.crash.gate import Gate
from integration.faults.crash.points import Point, name_of, points_of
from integration.faults.crash.scenarios import BROKEN, Scenario, at_rest
from integration.faults.crash.world import History, Snapshot, Watch, events, snapshots
from integration.faults.proxy import FaultProxy
from integration.operator.control_plane import (
    Api,
    Deployed,
    OperatorProcess,
    eventually,
    make_pods_ready,
)

HELD_SECONDS = 120.0
"""How long a call is held at most, until the others have come to their points or to the end."""
LIMIT_SECONDS = 300.0
"""How long after the operator's last write a deployment may still be other than undisturbed ones."""
QUIET_SECONDS = 7.0
"""Longer than the operator puts a status off that has only other counts, 5 s."""
_LONGEST_SECONDS = 900.0
_TICK = 0.7
_OPERATOR = str(Path(__file__).with_name("patient_operator.py"))
_LINES = 40


@dataclass
class Expected:
    """How undisturbed deployments went.

    Attributes:
        points: all points of the scenario.
        snapshots: what was there in the end; more than one where runs differ.
        pods: how many pods of each name there ever were, at most.
        sets: how many StatefulSets of each name, and ReplicaSets of each Deployment, at most.
        events: how many Events of each reason, at most.
        lost: why one was not available in between.
    """

    points: list[Point] = field(default_factory=list)
    snapshots: set[Snapshot] = field(default_factory=set)
    pods: Counter[str] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    lost: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Result:
    """What became of one point.

    Attributes:
        scenario: its name.
        point: where the operator was killed.
        outcome: converged, failed, or unreached: no run came to it.
        faults: what did not hold.
    """

    scenario: str
    point: Point
    outcome: str
    faults: tuple[str, ...] = ()


@dataclass
class Crew:
    """One namespace with an operator of its own behind a gate."""

    api: Api
    namespace: str
    operator: OperatorProcess
    gate: Gate
    history: History
    _made: int = 0

    def undisturbed(self, scenario: Scenario, runs: int) -> Expected:
        """Run a scenario without any crash.

        Args:
            scenario: which.
            runs: how many deployments, beside each other.
        """
        deployments = self._prepare(scenario, runs)
        self._act(scenario, deployments)
        found = self._settled(scenario, deployments)
        expected = Expected(points=points_of(self.gate.calls(it.name) for it in deployments))
        told = events(self.api, self.namespace)
        for it in deployments:
            expected.snapshots.add(found.get(it.name, ()))
            expected.pods |= self.history.pods_made(it.name)
            expected.sets |= self.history.sets_made(it.name)
            expected.events |= told[it.name]
            expected.lost |= set(self.history.lost[it.name])
        self._remove_all()
        return expected

    def crash(self, scenario: Scenario, expected: Expected, points: Sequence[Point]) -> list[Result]:
        """Kill the operator at some points, all in one round.

        Args:
            scenario: what is done.
            expected: how it goes undisturbed.
            points: where to crash; one of an Event at most.

        Returns:
            What became of each point, unreached ones among them.
        """
        deployments = self._prepare(scenario, len(points))
        at = dict(zip([it.name for it in deployments], points, strict=True))
        self.gate.arm(at)
        self._act(scenario, deployments)
        self._tick_until(lambda: self._all_held_or_done(scenario, deployments))
        held = set(self.gate.held())
        self.operator.stop(signal.SIGKILL)
        self.gate.open()
        self.operator.start()
        faults = self._compare(scenario, expected, deployments)
        left = self._remove_all()
        results = []
        for it in deployments:
            wrong = (*faults[it.name], *left[it.name])
            outcome = "failed" if wrong else "converged" if it.name in held else "unreached"
            results.append(Result(scenario.name, at[it.name], outcome, wrong))
        return results

    def _prepare(self, scenario: Scenario, count: int) -> list[Deployed]:
        deployments = []
        for _ in range(count):
            self._made += 1
            deployments.append(Deployed(self.api, self.namespace, name_of(self._made)))
        if scenario.act is not None:
            for it in deployments:
                scenario.create(it)
            self._tick_until(lambda: all(at_rest(it) for it in deployments))
            self._wait_until_quiet()
        self.gate.open()
        return deployments

    def _act(self, scenario: Scenario, deployments: Sequence[Deployed]) -> None:
        for it in deployments:
            (scenario.act or scenario.create)(it)

    def _all_held_or_done(self, scenario: Scenario, deployments: Sequence[Deployed]) -> bool:
        held = self.gate.held()
        if held and max(held.values()) > HELD_SECONDS:
            return True
        free = [it for it in deployments if it.name not in held]
        return all(scenario.ended(it) for it in free)

    def _compare(
        self, scenario: Scenario, expected: Expected, deployments: Sequence[Deployed]
    ) -> dict[str, list[str]]:
        """Wait until each deployment is as it is undisturbed; return what did not hold."""
        found: dict[str, Snapshot] = {}
        written, end = -1, 0.0

        def alike() -> bool:
            nonlocal written, end
            # A machine that is slow is none that fails: the time counts from the last write.
            now, count = time.monotonic(), self.gate.writes().total()
            if count != written:
                written, end = count, now + LIMIT_SECONDS
            if now > end:
                return True
            if not all(scenario.ended(it) for it in deployments):
                return False
            found.clear()
            found.update(snapshots(self.api, self.namespace))
            return all(found.get(it.name, ()) in expected.snapshots for it in deployments)

        self._tick_until(alike)
        found.update(snapshots(self.api, self.namespace))
        told = events(self.api, self.namespace)
        return {
            it.name: differences(
                expected,
                found=found.get(it.name, ()),
                pods=self.history.pods_made(it.name),
                sets=self.history.sets_made(it.name),
                told=told[it.name],
                lost=self.history.lost[it.name],
            )
            for it in deployments
        }

    def _remove_all(self) -> dict[str, list[str]]:
        """Delete all deployments; return what is left of each."""
        self.api.http.delete(self.api.path("disaggdeployments", self.namespace)).raise_for_status()
        end = time.monotonic() + LIMIT_SECONDS
        self._tick_until(lambda: not snapshots(self.api, self.namespace) or time.monotonic() > end)
        found: dict[str, list[str]] = defaultdict(list)
        for owner, texts in snapshots(self.api, self.namespace).items():
            found[owner] = [f"left after the deletion: {text.partition(' ')[0]}" for text in texts]
        return found

    def _wait(self, scenario: Scenario, deployments: Sequence[Deployed]) -> None:
        self._tick_until(lambda: all(scenario.ended(it) for it in deployments))

    def _settled(self, scenario: Scenario, deployments: Sequence[Deployed]) -> dict[str, Snapshot]:
        """Wait until a scenario has ended and nothing changes any more; return what is there then."""
        while True:
            self._wait(scenario, deployments)
            before = snapshots(self.api, self.namespace)
            self._wait_until_quiet()
            # After the last write pods may become ready, and a status may have been put off.
            if snapshots(self.api, self.namespace) == before and all(map(scenario.ended, deployments)):
                return before

    def _wait_until_quiet(self) -> None:
        """Wait until nothing is written for a while."""
        last, since = self.gate.writes(), time.monotonic()

        def quiet() -> bool:
            nonlocal last, since
            now = self.gate.writes()
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        self._tick_until(quiet)

    def _keep_alive(self) -> None:
        """STAND-IN for the kubelet: restart an operator that ended by itself."""
        if self.operator.process is None or self.operator.process.poll() is not None:
            self.operator.start()

    def _tick_until(self, check: Callable[[], bool]) -> None:
        def tick() -> None:
            make_pods_ready(self.api, self.namespace, broken=BROKEN)
            self._keep_alive()
            time.sleep(_TICK)

        eventually(check, "the round goes on", _LONGEST_SECONDS, tick)


def differences(
    expected: Expected,
    *,
    found: Snapshot,
    pods: Counter[str],
    sets: Counter[str],
    told: Counter[str],
    lost: Iterable[str],
) -> list[str]:
    """Return what does not hold of a deployment.

    Args:
        expected: how it goes undisturbed.
        found: what is there in the end.
        pods: how many pods of each name there ever were.
        sets: how many StatefulSets of each name, and ReplicaSets of each Deployment.
        told: how many Events of each reason.
        lost: why it was not available in between, each time.
    """
    return [
        *_other_end(expected, found),
        *_more("pod", expected.pods, pods),
        *_more("set", expected.sets, sets),
        *_more("Event", expected.events, told),
        *(f"not available: {why}" for why in lost if why not in expected.lost),
    ]


def rounds(points: Sequence[Point], size: int) -> Iterator[list[Point]]:
    """Yield points in rounds: in their order, so that those of a round come at about the same time.

    Args:
        points: all of them.
        size: points in a round at most, of which at most one is an Event's.
    """
    events_, others = ([p for p in points if p.is_event is kind] for kind in (True, False))
    while events_ or others:
        taken = [*events_[:1], *others[: size - len(events_[:1])]]
        events_, others = events_[1:], others[size - len(events_[:1]) :]
        yield taken


def crash_everywhere(
    crew: Crew,
    scenario: Scenario,
    expected: Expected,
    points: Sequence[Point],
    *,
    size: int,
    tries: int = 3,
) -> Iterator[Result]:
    """Yield what became of each point.

    Args:
        crew: where.
        scenario: what is done.
        expected: how it goes undisturbed.
        points: where the operator is killed.
        size: deployments at a time.
        tries: how often a point is tried that is not come to.
    """
    left = list(points)
    for attempt in range(tries):
        again = []
        for together in rounds(left, size):
            for result in crew.crash(scenario, expected, together):
                if result.outcome == "unreached" and attempt + 1 < tries:
                    again.append(result.point)
                else:
                    yield result
        left = again


@contextmanager
def crew_of(api: Api, kubeconfig: Path, directory: Path) -> Iterator[Crew]:
    """Make a namespace with an operator, and end both.

    Args:
        api: administrator of the API server.
        kubeconfig: of the API server.
        directory: an empty folder for the operator's log.
    """
    namespace = f"crash-{secrets.token_hex(3)}"
    api.http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    eventually(lambda: api.find("serviceaccounts", namespace), "the namespace has a ServiceAccount")
    history = History()
    watches = [
        Watch(kubeconfig, "pods", namespace, history.note_pod),
        Watch(kubeconfig, "statefulsets", namespace, history.note_stateful_set),
        Watch(kubeconfig, "replicasets", namespace, history.note_replica_set),
        Watch(kubeconfig, "disaggdeployments", namespace, history.note_deployment),
    ]
    for watch in watches:
        watch.start()
    with FaultProxy(kubeconfig, directory / "proxy") as proxy:
        environment = {
            "DISAGG_NAMESPACES": namespace,
            "DISAGG_LEASE_NAMESPACE": namespace,
            "POD_NAMESPACE": namespace,
            # The same pod, restarted by the kubelet, takes its own Lease back at once.
            "POD_NAME": "operator-0",
            # A deployment that is held has a worker for itself.
            "DISAGG_WORKERS": "64",
            # There are no nodes here.
            "DISAGG_PREFLIGHT_NODES": "false",
        }
        operator = OperatorProcess(proxy.kubeconfig, directory / "operator.log", environment, (_OPERATOR,))
        operator.start()
        try:
            eventually(
                lambda: "disagg_leader 1.0" in operator.says("/metrics"), "it leads", 2 * LIMIT_SECONDS
            )
            yield Crew(api, namespace, operator, Gate(proxy), history)
        finally:
            operator.stop(signal.SIGKILL)
            for watch in watches:
                watch.end()
    api.http.delete(f"/api/v1/namespaces/{namespace}").raise_for_status()


def _other_end(expected: Expected, found: Snapshot) -> list[str]:
    """Return what is other than in the undisturbed run that is most alike."""
    if found in expected.snapshots:
        return []
    diffs = [
        list(difflib.unified_diff(_lines(wanted), _lines(found), "undisturbed", "here", lineterm="", n=1))
        for wanted in expected.snapshots
    ]
    return ["another end:\n" + "\n".join(min(diffs, key=len)[:_LINES])]


def _lines(texts: Snapshot) -> list[str]:
    return [line for text in texts for line in text.splitlines()]


def _more(what: str, expected: Counter[str], found: Counter[str]) -> list[str]:
    return [
        f"{count} times {what} {name}, {expected[name]} undisturbed"
        for name, count in found.items()
        if count > expected[name]
    ]
