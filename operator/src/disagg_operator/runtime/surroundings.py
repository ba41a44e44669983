"""What the cluster says of itself, kept in step, and the deployments whom a change of it concerns.

Invariants: assessments cost no request, but for the question, once a minute at most, whether a kind is
served or a claim is there that a podTemplate names; a change wakes only the deployments whose assessment it
changes; changes come in bursts (a node pool that grows) and are looked at together. What is kept of a
deployment can be derived again: its needs and its last assessment.
"""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.errors import NotFoundError
from disagg_operator.reconcile.kinds import DEVICE_CLASS, NAMESPACE, NODE, Key, Kind, Object
from disagg_operator.reconcile.preflight.checks import assess
from disagg_operator.reconcile.preflight.fault import Assessment
from disagg_operator.reconcile.preflight.needs import Needs, needs_of
from disagg_operator.reconcile.preflight.snapshot import (
    ClusterSnapshot,
    Found,
    Named,
    Node,
    claim_of,
    enforced_by,
    node_of,
)
from disagg_operator.runtime.answers import BAD_SECONDS, Answers
from disagg_operator.runtime.versions import Address

V = TypeVar("V")
_Place = tuple[str, Named]
"""A namespace, and what pods there name."""

SETTLE_SECONDS = 2.0
"""Pause between a change and the look at whom it concerns."""
_REST = 9
"""Times as long as a look took, nobody looks again: a tenth of the time is enough while nodes change."""


class Discovery(Protocol):
    """Where it is asked what the API server serves; see `kube.KubeCluster`."""

    async def serves(self, kind: Kind) -> bool:
        """Tell whether objects of a kind can be had."""
        ...

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object.

        Raises:
            NotFoundError: there is none.
        """
        ...


class Trimmed(Generic[V]):
    """The cache of one kind of the whole cluster's objects: of each, the little that is read."""

    def __init__(self, kind: Kind, trim: Callable[[Object], V]) -> None:
        """Make an empty cache.

        Args:
            kind: kind of the objects.
            trim: returns what is read of an object; compared by content.
        """
        self.kind, self._trim = kind, trim
        self._values: dict[str, V] = {}
        self._readable = False

    def get(self) -> Mapping[str, V] | None:
        """Return what is there by name, or None where it may not be read."""
        return self._values if self._readable else None

    def put(self, obj: Object) -> tuple[Kind, ...]:
        """Take in an object; return the kind where anything of interest changed."""
        name, value = obj["metadata"]["name"], self._trim(obj)
        if self._values.get(name) == value:
            return ()
        self._values[name] = value
        return (self.kind,)

    def remove(self, address: Address) -> tuple[Kind, ...]:
        """Forget an object; return the kind where it was known."""
        return () if self._values.pop(address[1], None) is None else (self.kind,)

    def keep_only(self, namespace: str | None, there: Container[Address]) -> Iterable[Kind]:  # noqa: ARG002
        """Forget what is not there any more; return the kind where that is news."""
        gone = [name for name in self._values if ("", name) not in there]
        for name in gone:
            del self._values[name]
        news = bool(gone) or not self._readable
        self._readable = True
        return (self.kind,) if news else ()

    def refuse(self) -> tuple[Kind, ...]:
        """Forget everything, as it may not be read; return the kind where that is news."""
        was, self._readable = self._readable, False
        self._values.clear()
        return (self.kind,) if was else ()


@dataclass
class Surroundings:
    """Assesses deployments against the cluster, and has them reconciled when the answer changes.

    Attributes:
        discovery: where it is asked what the API server serves.
        concerned: is told each deployment whose assessment changed.
        barred: kinds that this operator has no rights to use: to it, they are not served.
    """

    discovery: Discovery
    concerned: Callable[[Key], None]
    barred: frozenset[Kind] = frozenset()
    nodes: Trimmed[Node] = field(default_factory=lambda: Trimmed(NODE, node_of))
    namespaces: Trimmed[str] = field(default_factory=lambda: Trimmed(NAMESPACE, enforced_by))
    device_classes: Trimmed[bool] = field(default_factory=lambda: Trimmed(DEVICE_CLASS, lambda _: True))
    _seen: dict[Key, tuple[Needs, Assessment]] = field(default_factory=dict)
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Know of no question yet."""
        self._served: Answers[Kind, bool] = Answers(self._serves, bool, self._dirty.set)
        self._claims: Answers[_Place, Found] = Answers(self._find, lambda found: found.there, self._dirty.set)

    @property
    def caches(self) -> tuple[Trimmed[Node], Trimmed[str], Trimmed[bool]]:
        """All caches, each to be kept in step by a reflector."""
        return self.nodes, self.namespaces, self.device_classes

    async def assess(self, key: Key, plan: Plan) -> Assessment:
        """Return whether the cluster can run a deployment, and remember to tell when that changes."""
        needs = needs_of(plan)
        await self._served.refresh(needs.asked, BAD_SECONDS)
        await self._claims.refresh(_places(needs), BAD_SECONDS)
        found = assess(needs, self._snapshot(needs))
        self._seen[key] = (needs, found)
        return found

    async def serving(self, kinds: Iterable[Kind]) -> Mapping[Kind, bool]:
        """Return whether the API server serves some kinds; one of which that is not known is missing."""
        asked = tuple(kinds)
        await self._served.refresh(asked, BAD_SECONDS)
        return {kind: self._served.known[kind] for kind in asked if kind in self._served.known}

    def forget(self, key: Key) -> None:
        """Forget a deployment that is gone."""
        self._seen.pop(key, None)

    def changed(self, _: Kind) -> None:
        """Take note that something of interest changed."""
        self._dirty.set()

    async def run(self) -> None:
        """Tell whom changes concern, and ask now and then what is served, until cancelled."""
        while True:
            with suppress(TimeoutError):
                # Not `wait_for`: until Python 3.12 that takes no notice of being cancelled at that moment.
                async with asyncio.timeout(BAD_SECONDS):
                    await self._dirty.wait()
                await asyncio.sleep(SETTLE_SECONDS)
            everybody = [needs for needs, _ in self._seen.values()]
            places = {place for needs in everybody for place in _places(needs)}
            await self._served.refresh({kind for needs in everybody for kind in needs.asked})
            await self._claims.refresh(places)
            self._claims.keep_only(places)
            if self._dirty.is_set():
                self._dirty.clear()
                await self._look()

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        for key, (needs, before) in list(self._seen.items()):
            if assess(needs, self._snapshot(needs)) != before:
                self.concerned(key)
            # A thousand deployments on a thousand nodes take seconds, in which others want to work.
            await asyncio.sleep(0)
        await asyncio.sleep(_REST * (now() - began))

    async def _serves(self, kind: Kind) -> bool:
        return kind not in self.barred and await self.discovery.serves(kind)

    async def _find(self, place: _Place) -> Found:
        namespace, claim = place
        try:
            return claim_of(await self.discovery.get(claim.kind, namespace, claim.name))
        except NotFoundError:
            return Found(there=False)

    def _snapshot(self, needs: Needs) -> ClusterSnapshot:
        nodes, namespaces = self.nodes.get(), self.namespaces.get()
        classes = self.device_classes.get()
        return ClusterSnapshot(
            nodes=None if nodes is None else tuple(nodes.values()),
            enforced=None if namespaces is None else namespaces.get(needs.namespace, ""),
            device_classes=None if classes is None else frozenset(classes),
            served=self._served.known,
            claims={
                claim: found
                for claim in needs.claims
                if (found := self._claims.known.get((needs.namespace, claim))) is not None
            },
        )


def _places(needs: Needs) -> Iterable[_Place]:
    return ((needs.namespace, claim) for claim in needs.claims)
