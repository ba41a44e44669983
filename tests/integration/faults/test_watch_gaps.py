"""Watches that say nothing, gaps in which things vanish, requests that stall, and an etcd that is killed."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.faults.faults import Answer, Stall, expired, silence
from integration.faults.processes import impatient
from integration.faults.proxy import FaultProxy
from integration.faults.requests import Match
from integration.faults.scenario import (
    RECOVERY_SECONDS,
    Kept,
    await_recovery,
    await_settled,
    deployed,
    settled,
)
from integration.operator.conftest import new_namespace, operators
from integration.operator.control_plane import OWNED, Api, Deployed, eventually
from testcluster.fixtures import ApiServer

# Operators are started in it, each of which a busy machine lets wait.
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

MANAGED = (*OWNED, "disaggdeployments", "pods")
WATCHES = Match(verbs={"watch"}, resources=MANAGED)
READS = Match(verbs={"list", "watch"}, resources=OWNED)
IMPATIENT = (str(Path(impatient.__file__)),)


@dataclass(frozen=True)
class World:
    """A deployment that is rolled out, and its operator behind a proxy."""

    proxy: FaultProxy
    kept: Kept
    demo: Deployed


@pytest.fixture(scope="module")
def world(api: Api, apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An operator that gives silent watches up soon."""
    folder = tmp_path_factory.mktemp("gaps")
    with (
        FaultProxy(apiserver.kubeconfig, folder / "proxy") as proxy,
        new_namespace(api) as namespace,
        operators(apiserver, namespace, folder) as make,
    ):
        process = make("operator-a", IMPATIENT, kubeconfig=proxy.kubeconfig)
        process.wait_until_leading()
        demo = deployed(api, namespace, "demo")
        demo.create()
        await_settled([demo])
        yield World(proxy, Kept(process), demo)


@pytest.fixture(autouse=True)
def healed(world: World) -> Iterator[None]:
    """After each test, no trouble is left."""
    yield
    world.proxy.heal()


def replicas(demo: Deployed) -> int:
    (decode,) = demo.find("statefulsets", "decode")
    found: int = decode["spec"]["replicas"]
    return found


def test_watches_that_stay_open_and_say_nothing_are_given_up(world: World) -> None:
    """Neither the edit nor what the pods do is told: only the limit finds out."""
    silent = world.proxy.on(WATCHES, silence)
    world.proxy.break_off(WATCHES)
    eventually(lambda: silent.done >= len(MANAGED), "all watches are silent")
    world.demo.edit(decode={"replicas": 2})
    world.proxy.heal()
    took = await_recovery([world.demo], world.kept)
    assert replicas(world.demo) == 2
    eventually(lambda: 'reason="stalled"' in world.kept.process.says("/metrics"), "a metric tells why")
    print(f"silent watches: recovery {took:.1f} s with a limit of {impatient.QUIET_SECONDS:.0f} s")


def test_what_was_deleted_in_a_gap_is_noticed_and_made_anew(world: World) -> None:
    demo, frontend = world.demo, f"{world.demo.name}-frontend"
    (old,) = demo.find("statefulsets", "prefill")
    name, uid = old["metadata"]["name"], old["metadata"]["uid"]
    gap = world.proxy.on(READS, Answer(503))
    world.proxy.break_off(READS)
    eventually(lambda: gap.done >= len(OWNED), "nothing can be listed or watched")
    demo.api.delete("services", demo.namespace, frontend)
    demo.api.delete("statefulsets", demo.namespace, name)
    eventually(lambda: not demo.find("statefulsets", "prefill"), "it is gone")
    world.proxy.heal()
    # No watch goes on from where it was: what vanished is found by lists alone.
    for resource in OWNED:
        world.proxy.on(Match(verbs={"watch"}, resources={resource}), expired, times=1)

    def made_anew() -> bool:
        found = demo.find("statefulsets", "prefill")
        anew = [obj["metadata"]["uid"] != uid for obj in found] == [True]
        return anew and frontend in demo.children()["services"] and settled(demo)

    def meanwhile() -> None:
        world.kept.tend()
        demo.make_ready()

    began, exits = time.monotonic(), len(world.kept.exits)
    eventually(made_anew, "both are back", meanwhile=meanwhile)
    took = time.monotonic() - began
    assert took < RECOVERY_SECONDS or len(world.kept.exits) > exits
    print(f"deletions in a gap: recovery {took:.1f} s")


def test_requests_that_stall_for_half_a_minute_hold_nothing_up_for_longer(world: World) -> None:
    stalled = world.proxy.on(
        Match(verbs={"apply", "patch"}, resources={"statefulsets"}, namespace=world.demo.namespace), Stall(30)
    )
    world.demo.edit(decode={"replicas": 3})
    eventually(lambda: stalled.done, "a write stalls", meanwhile=world.kept.tend)
    world.demo.edit(decode={"replicas": 1})
    world.proxy.heal()
    took = await_recovery([world.demo], world.kept)
    assert replicas(world.demo) == 1
    print(f"30 s stalls: recovery {took:.1f} s")


def test_an_etcd_that_is_killed_and_started_again_costs_nothing_but_time(
    world: World, apiserver: ApiServer
) -> None:
    world.demo.edit(decode={"replicas": 2})
    pid = apiserver.plane.supervisor.pid("etcd")
    assert pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: apiserver.plane.supervisor.pid("etcd") is None, "etcd is gone")
    time.sleep(3)
    apiserver.plane.start(scheduler=False)
    world.demo.edit(prefill={"replicas": 2})
    took = await_recovery([world.demo], world.kept)
    assert replicas(world.demo) == 2
    print(f"etcd killed: recovery {took:.1f} s, exits {world.kept.exits}")
