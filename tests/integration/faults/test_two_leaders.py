"""Several operator processes and one Lease: at no time do two of them write. Its audit log proves it."""

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from integration.faults.conftest import WRITERS, Audit, ProxyMaker
from integration.faults.faults import Answer, Hold, Stall
from integration.faults.leading import (
    LEASES,
    WallClock,
    changes_something,
    taken_too_early,
    writes_of,
)
from integration.faults.proxy import FaultProxy
from integration.faults.requests import CLIENT_LEFT, Match
from integration.faults.scenario import await_settled, deployed, identities
from integration.faults.turns import LEASE, out_of_turn, turns
from integration.operator.control_plane import LIMIT_SECONDS, Api, Deployed, OperatorProcess, eventually

# Operators are started in it, each of which a busy machine lets wait.
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

OperatorMaker = Callable[..., OperatorProcess]
STATEFUL_SETS = Match(verbs={"apply", "patch"}, resources={"statefulsets"}, name="demo")
RENEWALS = Match(verbs={"update"}, resources={"leases"})
JUMP_SECONDS = 3600
BOTH_REVISIONS = 4
"""StatefulSets of two roles in two revisions."""
JUMPS = ((JUMP_SECONDS, 0), (-JUMP_SECONDS, JUMP_SECONDS), (0, -JUMP_SECONDS), (0, 0))
"""How far the clocks of the first and the second are ahead, one after the other."""


@dataclass
class Pair:
    """A leader and one that stands by, each behind a proxy of its own."""

    first: OperatorProcess
    second: OperatorProcess
    proxies: tuple[FaultProxy, FaultProxy]


def pair_of(new_proxy: ProxyMaker, new_operator: OperatorMaker, *environments: Mapping[str, str]) -> Pair:
    """Return two operator processes, of which the first leads."""
    proxies = new_proxy(), new_proxy()
    first = new_operator("operator-a", kubeconfig=proxies[0].kubeconfig, **environments[0])
    first.wait_until_leading()
    second = new_operator("operator-b", kubeconfig=proxies[1].kubeconfig, **environments[1])
    eventually(lambda: second.says("/readyz"), "the second stands by")
    return Pair(first, second, proxies)


@pytest.fixture
def pair(new_proxy: ProxyMaker, new_operator: OperatorMaker) -> Pair:
    """Two operator processes, of which the first leads."""
    return pair_of(new_proxy, new_operator, {}, {})


@pytest.fixture
def clocks(tmp_path: Path) -> tuple[WallClock, WallClock]:
    """Two wall clocks that can be moved."""
    return WallClock(tmp_path / "clock-a"), WallClock(tmp_path / "clock-b")


@pytest.fixture
def clocked(new_proxy: ProxyMaker, new_operator: OperatorMaker, clocks: tuple[WallClock, WallClock]) -> Pair:
    """Two operator processes, each with a wall clock of its own; the first leads."""
    return pair_of(new_proxy, new_operator, *(clock.environment for clock in clocks))


@pytest.fixture
def demo(api: Api, namespace: str, pair: Pair) -> Deployed:  # noqa: ARG001 - the operators run
    """A deployment that is rolled out."""
    made = deployed(api, namespace, "demo")
    made.create()
    await_settled([made])
    return made


@pytest.fixture
def busy(demo: Deployed) -> Iterator[Callable[[], None]]:
    """What edits the deployment with each call, so that whoever leads has something to write."""
    numbers = count(1)
    yield lambda: demo.edit(frontend={"replicas": next(numbers) % 2 + 1})
    # Whatever happened: the last edit is what runs.
    last = {"prefill": {"replicas": 2}, "frontend": {"replicas": 3}}
    demo.edit(**last)
    await_settled([demo])
    (prefill,) = demo.find("statefulsets", "prefill")
    (frontend,) = demo.find("deployments")
    assert (prefill["spec"]["replicas"], frontend["spec"]["replicas"]) == (2, 3)


def leads(operator: OperatorProcess) -> bool:
    return "disagg_leader 1.0" in operator.says("/metrics")


def renewals(proxy: FaultProxy, since: int) -> list[datetime]:
    """Return the times that renewals of the Lease named, from this entry of the log on."""
    return [
        datetime.fromisoformat(json.loads(entry.call.body)["spec"]["renewTime"])
        for entry in proxy.entries(RENEWALS, since)
    ]


def prove_turns(audited: Audit, *expected: str) -> None:
    """Check that these users wrote, and that each did so in its turn alone."""
    made = audited.writes()
    assert not out_of_turn(made)
    assert {write.user for write in made if write.resource != LEASE} == set(expected)


def test_a_leader_that_cannot_renew_stops_before_another_begins(
    pair: Pair, busy: Callable[[], None], audited: Audit
) -> None:
    """Its requests for the Lease are refused, and then not answered; every other write would pass."""
    pair.proxies[0].on(LEASES, Answer(503), times=2)
    pair.proxies[0].on(LEASES, Stall(60))
    eventually(lambda: leads(pair.second), "the second leads", meanwhile=busy)
    assert pair.first.process
    assert pair.first.process.wait(LIMIT_SECONDS) == 1
    eventually(lambda: len(writes_of(pair.proxies[1])) > 3, "the second writes", meanwhile=busy)
    prove_turns(audited, *WRITERS[:2])


def test_a_leader_that_was_paused_in_mid_reconcile_writes_nothing_when_it_wakes(
    pair: Pair, demo: Deployed, busy: Callable[[], None], audited: Audit
) -> None:
    """Of its two requests under way, the API server did one, and something between holds the other."""
    answered, unsent = Hold(after=True), Hold()
    pair.proxies[0].on(Match(verbs={"apply"}, resources={"deployments"}, name="other"), answered)
    pair.proxies[0].on(STATEFUL_SETS, unsent)
    assert pair.first.process
    others = deployed(demo.api, demo.namespace, "other")
    others.create()
    demo.edit(decode={"replicas": 2})
    eventually(lambda: answered.held and unsent.held, "two writes are under way")
    pair.first.process.send_signal(signal.SIGSTOP)
    eventually(lambda: leads(pair.second), "the second leads")
    eventually(lambda: len(writes_of(pair.proxies[1])) > 3, "the second writes", meanwhile=busy)
    asked = len(pair.proxies[0].log)
    answered.release()
    pair.first.process.send_signal(signal.SIGCONT)
    assert pair.first.process.wait(LIMIT_SECONDS) == 1
    eventually(
        lambda: CLIENT_LEFT in [entry.code for entry in pair.proxies[0].entries(STATEFUL_SETS)],
        "the proxy knows that the client of the second request has left",
    )
    unsent.release()
    since = pair.proxies[0].log[asked:]
    assert not [str(entry) for entry in since if changes_something(entry.call)], "asked for nothing more"
    await_settled([others])
    prove_turns(audited, *WRITERS[:2])


def test_a_successor_brings_a_rollout_to_its_end_and_makes_nothing_anew(
    pair: Pair, demo: Deployed, audited: Audit
) -> None:
    """The leader is asked to end while a new revision waits for its pods."""
    demo.edit(decode={"engineConfig": {"scheduler": {"max_batch_size": 3}}})
    eventually(
        lambda: len(demo.find("statefulsets")) == BOTH_REVISIONS and len(demo.find("pods")) > BOTH_REVISIONS,
        "both revisions have pods",
    )
    before = identities(demo)
    assert pair.first.stop() == 0
    eventually(lambda: leads(pair.second), "the second leads")
    assert before.items() <= identities(demo).items(), "a takeover changes nothing"
    await_settled([demo])
    new = demo.status()["revision"]
    after = {name: uid for name, (uid, _) in identities(demo).items()}
    workers = {name: uid for name, (uid, _) in before.items() if new in name}
    assert workers
    assert workers.items() <= after.items(), "what the first began is not begun anew"
    prove_turns(audited, *WRITERS[:2])


def test_two_that_begin_at_once_are_one_leader_and_one_that_stands_by(
    api: Api, namespace: str, audited: Audit, new_proxy: ProxyMaker, new_operator: OperatorMaker
) -> None:
    proxies, hold = [new_proxy(), new_proxy()], Hold()
    for proxy in proxies:
        proxy.on(Match(verbs={"create"}, resources={"leases"}), hold)
    both = [
        new_operator(f"operator-{name}", kubeconfig=proxy.kubeconfig)
        for name, proxy in zip("ab", proxies, strict=True)
    ]
    eventually(lambda: hold.held == 2, "both are about to make the Lease")
    hold.release()
    eventually(lambda: any(map(leads, both)), "one leads")
    demo = deployed(api, namespace, "demo")
    demo.create()
    await_settled([demo])
    (turn,) = turns(audited.writes())
    prove_turns(audited, turn.user)


def test_a_wall_clock_that_jumps_moves_no_lease(
    api: Api, namespace: str, clocked: Pair, clocks: tuple[WallClock, WallClock], audited: Audit
) -> None:
    demo = deployed(api, namespace, "demo")
    demo.create()
    await_settled([demo])
    for number, offsets in enumerate(JUMPS, start=1):
        since = len(clocked.proxies[0].log)
        for clock, seconds in zip(clocks, offsets, strict=True):
            clock.move(seconds)
        demo.edit(frontend={"replicas": number % 2 + 1})
        await_settled([demo])
        # The second looks at the Lease more than once in between.
        eventually(lambda: len(renewals(clocked.proxies[0], since)) >= 3, "the first renews the Lease")  # noqa: B023
        ahead = (renewals(clocked.proxies[0], since)[-1] - datetime.now(UTC)).total_seconds()
        assert abs(ahead - offsets[0]) < JUMP_SECONDS / 2, "the clock was moved in truth"
    assert not taken_too_early(*clocked.proxies)
    prove_turns(audited, WRITERS[0])
