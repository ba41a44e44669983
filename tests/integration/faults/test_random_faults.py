"""Random faults, round after round, from a seed: what is there at last equals what a calm run makes.

Each round draws faults, has several deployments created, edited, scaled and deleted by a script of its own,
and then ends the trouble. ``SEED`` and ``ROUNDS`` of the environment set seed and number of rounds (`make
test-faults`); the sample of every run is a fixed one.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest

from integration.faults.faults import Answer, Fault, Reset, Stall, expired
from integration.faults.proxy import FaultProxy
from integration.faults.requests import READS, Match
from integration.faults.scenario import (
    Kept,
    await_recovery,
    deployed,
    differences,
    gone,
    outcome,
)
from integration.operator.conftest import new_namespace, operators
from integration.operator.control_plane import (
    OWNED,
    Api,
    Deployed,
    Object,
    deployment,
    eventually,
    make_pods_ready,
)
from testcluster.fixtures import ApiServer

# Operators are started in it, each of which a busy machine lets wait.
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

SEED = int(os.environ.get("SEED", "8"))
ROUNDS = int(os.environ.get("ROUNDS", "1"))
DEPLOYMENTS = 3
STEPS = 6
STEP_SECONDS = 3.0
"""Time for the faults of a step to befall something, at most."""
MANAGED = (*OWNED, "disaggdeployments", "pods")
MOST_REQUESTS = 1500
"""Requests of a round while its trouble lasts, of all deployments."""


@dataclass
class World:
    """One namespace with its operator, and what was asked for in it so far.

    Attributes:
        demos: the deployments that were ever made.
        wanted: their specifications; None for those that were deleted.
    """

    api: Api
    namespace: str
    kept: Kept
    demos: dict[str, Deployed] = field(default_factory=dict)
    wanted: dict[str, Object | None] = field(default_factory=dict)

    def step(self, chance: random.Random) -> None:
        """Do the next step of a script: create, edit, scale or delete one of the deployments."""
        name = f"demo-{chance.randrange(DEPLOYMENTS)}"
        if self.wanted.get(name) is None:
            spec: Object = {"decode": {"replicas": chance.randint(1, 3)}}
            eventually(lambda: self._is_free(name), f"the name {name} is free", meanwhile=self.tend)
            self.demos[name] = deployed(self.api, self.namespace, name)
            self.demos[name].create(**spec)
            self.wanted[name] = deployment(name, **spec)["spec"]
            return
        what = chance.choice(["edit", "scale", "scale", "delete"])
        if what == "delete":
            self.api.delete("disaggdeployments", self.namespace, name)
            self.wanted[name] = None
        elif what == "edit":
            self.demos[name].edit(
                decode={"engineConfig": {"scheduler": {"max_batch_size": chance.randint(1, 9)}}}
            )
        else:
            role = chance.choice(["prefill", "decode", "frontend"])
            self.demos[name].edit(**{role: {"replicas": chance.randint(1, 4)}})

    def _is_free(self, name: str) -> bool:
        found = self.api.find("disaggdeployments", self.namespace)
        return name not in {obj["metadata"]["name"] for obj in found}

    def tend(self) -> None:
        self.kept.tend()
        make_pods_ready(self.api, self.namespace)

    def await_end(self) -> float:
        """Wait until all is as it was asked for; return the seconds that took."""
        there = [demo for name, demo in self.demos.items() if self.wanted[name] is not None]
        took = await_recovery(there, self.kept)
        for name, demo in self.demos.items():
            if self.wanted[name] is None:
                eventually(partial(gone, demo), f"nothing is left of {name}", meanwhile=self.tend)
        return took

    def outcomes(self) -> dict[str, Object]:
        return {name: outcome(demo) for name, demo in self.demos.items() if self.wanted[name] is not None}


def draw(chance: random.Random) -> tuple[Match, Fault, int]:
    """Draw whom a fault befalls, what it is, and how many requests it is done to."""
    writes = Match(verbs={"apply", "create", "patch", "delete"}, resources=MANAGED)
    reads = Match(verbs=READS, resources=MANAGED)
    watches = Match(verbs={"watch"}, resources=MANAGED)
    choices: list[tuple[Match, Fault]] = [
        (writes, Answer(409)),
        (writes, Answer(429, retry_after=1)),
        (writes, Answer(500)),
        (writes, Answer(500, after=True)),
        (writes, Reset()),
        (writes, Reset(after=True)),
        (writes, Stall(2.0)),
        (writes, Stall(2.0, after=True)),
        (reads, Answer(503)),
        (reads, Reset()),
        (watches, expired),
        (watches, Reset(after=True)),
    ]
    match, fault = chance.choice(choices)
    return match, fault, chance.randint(1, 12)


@pytest.fixture(scope="module")
def proxy(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """The proxy of the troubled world."""
    with FaultProxy(apiserver.kubeconfig, tmp_path_factory.mktemp("random")) as running:
        yield running


@pytest.fixture(scope="module")
def worlds(
    api: Api,
    apiserver: ApiServer,
    proxy: FaultProxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[World, World]]:
    """A world behind the proxy, and a calm one."""
    with ExitStack() as running:
        made = []
        for way in (proxy.kubeconfig, apiserver.kubeconfig):
            namespace = running.enter_context(new_namespace(api))
            make = running.enter_context(operators(apiserver, namespace, tmp_path_factory.mktemp("world")))
            made.append(World(api, namespace, Kept(make("operator-a", kubeconfig=way))))
        for world in made:
            world.kept.process.wait_until_leading()
        yield made[0], made[1]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_random_faults_leave_what_a_calm_run_leaves(
    worlds: tuple[World, World], proxy: FaultProxy, number: int
) -> None:
    seed = f"{SEED}/{number}"
    troubled, calm = worlds
    script, chance = f"script {seed}", random.Random(f"faults {seed}")  # noqa: S311 - no secret
    ours, theirs = random.Random(script), random.Random(script)  # noqa: S311
    since = len(proxy.log)
    for _ in range(STEPS):
        rules = []
        for _ in range(chance.randint(1, 3)):
            match, fault, times = draw(chance)
            rules.append(proxy.on(match, fault, skip=chance.randint(0, 5), times=times))
        if chance.random() < 0.3:
            proxy.break_off(Match(verbs={"watch"}))
        troubled.step(ours)
        calm.step(theirs)
        end = time.monotonic() + STEP_SECONDS
        while time.monotonic() < end and not all(rule.done for rule in rules):
            for world in worlds:
                world.tend()
            time.sleep(0.1)
    requests = len(proxy.log) - since
    proxy.heal()
    took = troubled.await_end()
    calm.await_end()
    assert not differences(troubled.outcomes(), calm.outcomes()), f"SEED={SEED}, round {number}"
    assert requests < MOST_REQUESTS
    done = sum(1 for entry in proxy.log[since:] if entry.fault)
    assert done, "no fault befell anything"
    print(f"round {number} of seed {SEED}: {done} faults, recovery {took:.1f} s, exits {troubled.kept.exits}")
