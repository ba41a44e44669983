"""Several operator processes and one Lease: at no time do two of them write. Their proxies' logs prove it."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from integration.faults.conftest import ProxyMaker
from integration.faults.faults import Answer, Hold, Stall
from integration.faults.leading import (
    LEASES,
    WallClock,
    changes_something,
    overlaps,
    taken_too_early,
    writes_of,
)
from integration.faults.proxy import FaultProxy
from integration.faults.requests import CLIENT_LEFT, Match
from integration.faults.scenario import await_settled, deployed
from integration.operator.control_plane import LIMIT_SECONDS, Api, Deployed, OperatorProcess, eventually

pytestmark = pytest.mark.apiserver

OperatorMaker = Callable[..., OperatorProcess]
STATEFUL_SETS = Match(verbs={"apply", "patch"}, resources={"statefulsets"}, name="demo")
RENEWALS = Match(verbs={"update"}, resources={"leases"})
JUMP_SECONDS = 3600
OBSERVED_SECONDS = 3.0
"""Time in which a candidate that believed the wall clock would have taken the Lease."""


@dataclass
class Pair:
    """A leader and one that stands by, each behind a proxy of its own."""

    first: OperatorProcess
    second: OperatorProcess
    proxies: tuple[FaultProxy, FaultProxy]


@pytest.fixture
def pair(new_proxy: ProxyMaker, new_operator: OperatorMaker) -> Pair:
    """Two operator processes, of which the first leads."""
    proxies = new_proxy(), new_proxy()
    first = new_operator("operator-a", kubeconfig=proxies[0].kubeconfig)
    first.wait_until_leading()
    second = new_operator("operator-b", kubeconfig=proxies[1].kubeconfig)
    eventually(lambda: second.says("/readyz"), "the second stands by")
    return Pair(first, second, proxies)


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


def began(proxy: FaultProxy) -> float:
    """Return when the first write came through a proxy."""
    return min((entry.passed or 0.0 for entry in writes_of(proxy)), default=math.inf)


def test_a_leader_that_cannot_renew_stops_before_another_begins(pair: Pair, busy: Callable[[], None]) -> None:
    """Its requests for the Lease are refused, and then not answered; every other write would pass."""
    pair.proxies[0].on(LEASES, Answer(503), times=2)
    pair.proxies[0].on(LEASES, Stall(60))
    eventually(lambda: leads(pair.second), "the second leads", meanwhile=busy)
    assert pair.first.process
    assert pair.first.process.wait(LIMIT_SECONDS) == 1
    eventually(lambda: len(writes_of(pair.proxies[1])) > 3, "the second writes", meanwhile=busy)
    assert len(writes_of(pair.proxies[0])) > 3
    assert not overlaps(*pair.proxies)


def test_a_leader_that_was_paused_in_mid_reconcile_writes_nothing_when_it_wakes(
    pair: Pair, demo: Deployed, busy: Callable[[], None]
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
    began = writes_of(pair.proxies[1])[0].passed or 0.0
    assert all((entry.passed or 0.0) < began for entry in writes_of(pair.proxies[0]))
    await_settled([others])


def test_two_that_begin_at_once_are_one_leader_and_one_that_stands_by(
    api: Api, namespace: str, new_proxy: ProxyMaker, new_operator: OperatorMaker
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
    assert not overlaps(*sorted(proxies, key=began))


def test_a_wall_clock_that_jumps_moves_no_lease(
    api: Api,
    namespace: str,
    new_proxy: ProxyMaker,
    new_operator: OperatorMaker,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("clocks")
    clocks, proxies = [WallClock(folder / "a"), WallClock(folder / "b")], [new_proxy(), new_proxy()]

    def start(name: str, proxy: FaultProxy, clock: WallClock) -> OperatorProcess:
        return new_operator(f"operator-{name}", kubeconfig=proxy.kubeconfig, **clock.environment)

    first = start("a", proxies[0], clocks[0])
    first.wait_until_leading()
    second = start("b", proxies[1], clocks[1])
    eventually(lambda: second.says("/readyz"), "the second stands by")
    demo = deployed(api, namespace, "demo")
    demo.create()
    await_settled([demo])
    jumps = [(0, JUMP_SECONDS), (0, -JUMP_SECONDS), (1, JUMP_SECONDS), (1, -JUMP_SECONDS)]
    for number, (whose, seconds) in enumerate(jumps):
        clocks[whose].move(seconds)
        until = time.monotonic() + OBSERVED_SECONDS
        demo.edit(frontend={"replicas": number % 2 + 1})
        await_settled([demo])
        time.sleep(max(0.0, until - time.monotonic()))
        clocks[whose].move(0)
    assert not taken_too_early(*proxies)
    assert not overlaps(*proxies)
    shown = {json.loads(entry.call.body)["spec"]["renewTime"][:13] for entry in proxies[0].entries(RENEWALS)}
    assert len(shown) >= 3, f"the clock was moved in truth: {shown}"
