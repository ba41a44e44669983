"""The operator while its API server answers with errors, breaks connections, stalls and says nothing.

Each trouble lasts through a create and an edit. Checked after it: the last edit is what runs, all objects
equal those of a run without trouble, that was so within `RECOVERY_SECONDS` of its end, the requests were
bounded in number, and while it lasted the status (or, where that could not be written, a metric) told of it.

``TROUBLES=all`` in the environment goes through all of them (`make test-faults`); else it is a sample.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from integration.faults.faults import Answer, Fault, Reset, expired
from integration.faults.proxy import FaultProxy
from integration.faults.requests import Entry, Match
from integration.faults.scenario import (
    Kept,
    await_recovery,
    await_settled,
    counted,
    deployed,
    differences,
    outcome,
)
from integration.operator.conftest import operators
from integration.operator.control_plane import OWNED, Api, Deployed, Object, eventually
from testcluster.fixtures import ApiServer

# Operators are started in it, each of which a busy machine lets wait.
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

CHILDREN = Match(verbs={"apply", "create", "patch", "delete"}, resources=OWNED)
STATUS = Match(verbs={"apply"}, resources={"disaggdeployments"})
WATCHES = Match(verbs={"watch"}, resources={*OWNED, "disaggdeployments", "pods"})
FIRST: Object = {"decode": {"replicas": 2}}
LAST: Object = {"decode": {"replicas": 3, "engineConfig": {"scheduler": {"max_batch_size": 3}}}}
TROUBLED_SECONDS = 2.0
RETRY_AFTER = 3
UNDER_WAY_SECONDS = 1.0
"""Requests that were sent beside the refused one may come so long after its answer."""
MOST_REQUESTS = 200
"""Writes of one deployment while a trouble lasts. Without any pause between them, there are thousands."""


@dataclass(frozen=True)
class Troubled:
    """An operator behind a proxy."""

    proxy: FaultProxy
    kept: Kept
    api: Api
    namespace: str

    def metric(self, name: str, **labels: str) -> float:
        return counted(self.kept.process.says("/metrics"), name, **labels)


@pytest.fixture(scope="module")
def troubled(
    api: Api, apiserver: ApiServer, shared_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Troubled]:
    """An operator that goes through one trouble after the other."""
    folder = tmp_path_factory.mktemp("troubled")
    with (
        FaultProxy(apiserver.kubeconfig, folder / "proxy") as proxy,
        operators(apiserver, shared_namespace, folder) as make,
    ):
        process = make("operator-a", kubeconfig=proxy.kubeconfig)
        process.wait_until_leading()
        yield Troubled(proxy, Kept(process), api, shared_namespace)


@pytest.fixture(scope="module")
def calm(troubled: Troubled) -> dict[str, Object]:
    """What a deployment comes to without any trouble."""
    demo = deployed(troubled.api, troubled.namespace, "calm")
    demo.create(**FIRST)
    await_settled([demo])
    demo.edit(**LAST)
    await_settled([demo])
    return outcome(demo)


@pytest.fixture
def demo(troubled: Troubled) -> Iterator[Deployed]:
    """A deployment of the test's own, not yet created; after it, no trouble is left."""
    yield deployed(troubled.api, troubled.namespace, f"demo-{secrets.token_hex(2)}")
    troubled.proxy.heal()


def told_in_status(_: Troubled, demo: Deployed) -> bool:
    """Tell whether the status says that something fails and is tried again."""
    return bool(demo.condition("Progressing")["reason"] == "RetryingAfterError")


def told_in_metrics(code: int) -> Callable[[Troubled, Deployed], bool]:
    """Return what tells whether a metric counts what fails."""
    return lambda on, _: on.metric("disagg_api_requests_total", code=str(code)) >= 1


def told_in_restarts(reason: str) -> Callable[[Troubled, Deployed], bool]:
    """Return what tells whether a metric counts watches that were started anew for this reason."""
    return lambda on, _: on.metric("disagg_watch_restarts_total", reason=reason) >= 1


@dataclass(frozen=True)
class Trouble:
    """One trouble.

    Attributes:
        match: whom it befalls.
        fault: what it is.
        told: tells whether it can be read of.
    """

    match: Match
    fault: Fault
    told: Callable[[Troubled, Deployed], bool]


TROUBLES = {
    "409 to writes": Trouble(CHILDREN, Answer(409), told_in_metrics(409)),
    "429 with Retry-After to writes": Trouble(CHILDREN, Answer(429, retry_after=RETRY_AFTER), told_in_status),
    "500 to writes": Trouble(CHILDREN, Answer(500), told_in_status),
    "500 to writes that are done": Trouble(CHILDREN, Answer(500, after=True), told_in_metrics(500)),
    "503 to everything but Leases": Trouble(
        Match(resources={*OWNED, "disaggdeployments", "pods"}), Answer(503), told_in_metrics(503)
    ),
    "writes reset before they are done": Trouble(CHILDREN, Reset(), told_in_status),
    "writes reset after they are done": Trouble(CHILDREN, Reset(after=True), told_in_metrics(0)),
    "watches that expire at once": Trouble(WATCHES, expired, told_in_restarts("expired")),
}

SAMPLE = (
    "409 to writes",
    "429 with Retry-After to writes",
    "500 to writes that are done",
    "watches that expire at once",
)


def impatient(log: list[Entry]) -> list[str]:
    """Return the requests that came before their verb and kind was due after a Retry-After."""
    refusals = [entry for entry in log if entry.code == 429]
    return [
        f"{entry} after {refusal}"
        for refusal in refusals
        for entry in log
        if (entry.call.verb, entry.call.resource) == (refusal.call.verb, refusal.call.resource)
        and UNDER_WAY_SECONDS < entry.began - (refusal.ended or 0.0) < RETRY_AFTER
    ]


@pytest.mark.parametrize("name", TROUBLES if os.environ.get("TROUBLES") == "all" else SAMPLE)
def test_a_trouble_ends_as_if_it_had_not_been(
    troubled: Troubled, calm: dict[str, Object], demo: Deployed, name: str
) -> None:
    trouble, proxy = TROUBLES[name], troubled.proxy
    since = len(proxy.log)
    rule = proxy.on(trouble.match, trouble.fault)
    if trouble.match is WATCHES:
        proxy.break_off(WATCHES)
    demo.create(**FIRST)
    eventually(lambda: rule.done >= 2, "it was tried again")
    eventually(lambda: trouble.told(troubled, demo), "it can be read of")
    demo.edit(**LAST)
    time.sleep(TROUBLED_SECONDS)
    requests = rule.done
    proxy.heal()
    took = await_recovery([demo], troubled.kept)
    assert not differences(outcome(demo), calm)
    assert not impatient(proxy.log[since:])
    assert requests < MOST_REQUESTS, [str(entry) for entry in proxy.log[since:] if entry.fault]
    print(f"{name}: {requests} requests met it, recovery {took:.1f} s")
