"""Surroundings: who is woken by which change, against a FAKE discovery."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import Key, Kind, Object
from disagg_operator.reconcile.preflight.fault import Check
from disagg_operator.runtime.answers import BAD_SECONDS, GOOD_SECONDS
from disagg_operator.runtime.surroundings import Surroundings
from unit.reconcile.fake_cluster import deployment
from unit.runtime.fast_loop import run

SMALL, LARGE = Key("ns", "small"), Key("ns", "large")


@dataclass
class FakeDiscovery:
    """Serves what it is told to, and counts how often it is asked."""

    served: bool | ClusterError = True
    asked: int = 0
    claims: dict[tuple[str, str], Object | ClusterError] = field(default_factory=dict)
    got: list[str] = field(default_factory=list)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self.got.append(f"{kind.plural}/{namespace}/{name}")
        found = self.claims.get((namespace, name), NotFoundError(404, "NotFound", name))
        if isinstance(found, ClusterError):
            raise found
        return found

    async def serves(self, kind: Kind) -> bool:
        assert kind.plural in ("dynamoworkermetadatas", "resourceclaimtemplates")
        self.asked += 1
        if isinstance(self.served, ClusterError):
            raise self.served
        return self.served


@dataclass
class Scene:
    """A cluster with a small and a large deployment."""

    discovery: FakeDiscovery = field(default_factory=FakeDiscovery)
    woken: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.surroundings = Surroundings(self.discovery, self.woken.append)

    def node(self, name: str, cpu: str = "8", **metadata: str) -> None:
        """Let the watch say how a node is now."""
        obj = node(name, cpu)
        obj["metadata"] |= metadata
        for kind in self.surroundings.nodes.put(obj):
            self.surroundings.changed(kind)

    async def assess(self, key: Key) -> str:
        """Return what is found of a deployment: names of failed checks, or of what is unknown."""
        replicas = 40 if key == LARGE else 1
        planned = plan(accept(deployment(key.name, decode={"replicas": replicas})), Installation("w:1"))
        found = await self.surroundings.assess(key, planned)
        return ", ".join([fault.check for fault in found.faults]) or " ".join(found.unknown)

    def play(self, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a script beside the surroundings' own task."""

        async def main() -> None:
            task = asyncio.create_task(self.surroundings.run())
            await script()
            task.cancel()

        run(main())


def node(name: str, cpu: str = "8") -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def listed(scene: Scene) -> None:
    for cache in scene.surroundings.caches:
        for kind in cache.keep_only(None, {("", "a")}):
            scene.surroundings.changed(kind)


def test_a_change_wakes_those_whose_assessment_it_changes_and_bursts_are_one() -> None:
    scene = Scene()

    async def script() -> None:
        scene.node("a", cpu="1")
        listed(scene)
        assert await scene.assess(SMALL) == ""
        assert await scene.assess(LARGE) == Check.TOO_FEW_NODES
        for number in range(50):
            scene.node(f"b{number}")
        await asyncio.sleep(5)
        assert scene.woken == [LARGE]
        assert await scene.assess(LARGE) == ""
        await asyncio.sleep(30)
        assert scene.woken == [LARGE]

    scene.play(script)


def test_an_update_in_which_nothing_of_interest_changed_wakes_nobody() -> None:
    scene = Scene()

    async def script() -> None:
        scene.node("a")
        listed(scene)
        await scene.assess(SMALL)
        await asyncio.sleep(5)
        heartbeat = node("a")
        heartbeat["metadata"]["resourceVersion"] = "17"
        heartbeat["status"]["images"] = [{"names": ["large"]}]
        assert scene.surroundings.nodes.put(heartbeat) == ()

    scene.play(script)
    assert scene.woken == []


def test_a_gone_node_wakes_and_a_forgotten_deployment_does_not() -> None:
    scene = Scene()

    async def script() -> None:
        scene.node("a")
        listed(scene)
        await scene.assess(SMALL)
        await scene.assess(LARGE)
        scene.surroundings.forget(LARGE)
        for kind in scene.surroundings.nodes.remove(("", "a")):
            scene.surroundings.changed(kind)
        await asyncio.sleep(5)
        assert scene.woken == [SMALL]
        assert await scene.assess(SMALL) == Check.NO_NODES

    scene.play(script)


def test_a_thousand_nodes_take_a_few_megabytes() -> None:
    scene = Scene()

    def watched(number: int) -> Object:
        obj: Object = json.loads(json.dumps(node(f"node-{number}")))
        obj["metadata"]["labels"] |= {f"feature.node.kubernetes.io/{flag}": "true" for flag in range(60)}
        obj["status"]["images"] = [{"names": [f"image-{number}-{image}"]} for image in range(50)]
        return obj

    scene.surroundings.nodes.put(watched(0))
    tracemalloc.start()
    for number in range(1, 1000):
        scene.surroundings.nodes.put(watched(number))
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4e6


def test_what_may_not_be_read_is_unknown_and_costs_nothing() -> None:
    scene = Scene()

    async def script() -> None:
        found = await scene.assess(SMALL)
        assert found.startswith("The operator may not read nodes, namespaces. Set preflight.nodes=true")
        scene.node("a")
        listed(scene)
        await asyncio.sleep(5)
        assert await scene.assess(SMALL) == ""
        assert scene.surroundings.nodes.refuse()
        assert not scene.surroundings.nodes.refuse()
        assert "may not read nodes." in await scene.assess(SMALL)

    scene.play(script)


def test_a_kind_that_is_not_served_is_asked_for_every_minute_and_a_served_one_rarely() -> None:
    scene = Scene(FakeDiscovery(served=False))

    async def script() -> None:
        scene.node("a")
        listed(scene)
        assert await scene.assess(SMALL) == Check.API_MISSING
        assert await scene.assess(SMALL) == Check.API_MISSING
        assert scene.discovery.asked == 1
        scene.discovery.served = True
        await asyncio.sleep(2 * BAD_SECONDS)
        assert scene.woken == [SMALL]
        assert await scene.assess(SMALL) == ""
        asked = scene.discovery.asked
        await asyncio.sleep(3600)
        assert scene.discovery.asked - asked <= 4

    scene.play(script)


def test_an_api_server_that_does_not_answer_is_no_fault() -> None:
    scene = Scene(FakeDiscovery(served=ClusterError(503, "ServiceUnavailable", "no")))

    async def script() -> None:
        scene.node("a")
        listed(scene)
        found = await scene.assess(SMALL)
        assert found == "The API server did not say whether it serves DynamoWorkerMetadata."
        scene.discovery.served = True
        await asyncio.sleep(2 * BAD_SECONDS)
        assert scene.woken == [SMALL]

    scene.play(script)


CLAIMING = {
    "podTemplate": {
        "spec": {
            "resourceClaims": [
                {"name": "nic", "resourceClaimTemplateName": "nics"},
                {"name": "disk", "resourceClaimName": "disk"},
            ]
        }
    }
}
CLAIMED = ["resourceclaimtemplates/ns/nics", "resourceclaims/ns/disk"]


async def assess_claiming(scene: Scene) -> list[str]:
    planned = plan(accept(deployment(SMALL.name, prefill=CLAIMING, decode=CLAIMING)), Installation("w:1"))
    found = await scene.surroundings.assess(SMALL, planned)
    return [fault.message for fault in found.faults] or list(found.unknown)


def test_a_claim_that_a_pod_template_names_is_looked_for_now_and_then() -> None:
    scene = Scene()

    async def script() -> None:
        scene.node("a")
        listed(scene)
        template, claim = await assess_claiming(scene)
        assert template == (
            "Prefill and decode pods claim ResourceClaimTemplate nics, and namespace ns has none of that "
            "name. Create it, or correct spec.prefill.podTemplate and spec.decode.podTemplate. Run: kubectl "
            "get resourceclaimtemplates --namespace ns"
        )
        assert "claim ResourceClaim disk," in claim
        assert scene.discovery.got == CLAIMED
        await assess_claiming(scene)
        assert scene.discovery.got == CLAIMED, "asked a moment ago"
        scene.discovery.claims = {("ns", name): {"metadata": {"name": name}} for name in ("nics", "disk")}
        await asyncio.sleep(2 * BAD_SECONDS)
        assert scene.woken == [SMALL]
        assert await assess_claiming(scene) == []
        asked = len(scene.discovery.got)
        await asyncio.sleep(GOOD_SECONDS - 2 * BAD_SECONDS)
        assert len(scene.discovery.got) == asked, "good news hold longer"
        scene.surroundings.forget(SMALL)
        await asyncio.sleep(2 * GOOD_SECONDS)
        assert len(scene.discovery.got) == asked, "nobody wants to know"

    scene.play(script)


def test_a_claim_that_may_not_be_read_is_unknown() -> None:
    scene = Scene()

    async def script() -> None:
        scene.node("a")
        listed(scene)
        scene.discovery.claims = {
            ("ns", name): ClusterError(403, "Forbidden", "no") for name in ("nics", "disk")
        }
        assert await assess_claiming(scene) == [
            "The API server did not say whether there is ResourceClaimTemplate nics, ResourceClaim disk."
        ]

    scene.play(script)


@pytest.mark.parametrize("turns", range(4))
def test_it_ends_though_something_changes_at_that_moment(turns: int) -> None:
    """A process that wakes up from a pause hears of changes and that it no longer leads in one breath."""
    scene = Scene()

    async def main() -> bool:
        task = asyncio.create_task(scene.surroundings.run())
        await asyncio.sleep(1)
        scene.node("a")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=10)
        task.cancel()
        return task in done

    assert run(main())
