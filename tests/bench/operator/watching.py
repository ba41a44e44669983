"""Milestones: the moment at which what was asked for has come, told by watches alone, never by asking again.

Invariant: a milestone is reached once, when the number of objects that fulfil it first is what was wanted.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bench.operator.client import Client
from bench.operator.shapes import NAMESPACE
from testcluster.console import Step
from testcluster.errors import ClusterError

Object = Mapping[str, Any]

_TELL_SECONDS = 0.5


def exists(_: Object) -> bool:
    """Hold for everything that is there."""
    return True


def condition(kind: str, status: str = "True") -> Callable[[Object], bool]:
    """Return what holds for objects with this condition, of the generation that they have now."""

    def holds(obj: Object) -> bool:
        generation = obj["metadata"].get("generation")
        return any(
            each["type"] == kind
            and each["status"] == status
            and each.get("observedGeneration", generation) == generation
            for each in obj.get("status", {}).get("conditions", [])
        )

    return holds


@dataclass
class Milestone:
    """So many objects of a resource that fulfil something.

    Attributes:
        resource: what they are, such as `pods`.
        wanted: how many.
        holds: what each has to fulfil.
        metadata: whether it can be told from their metadata.
        at: when it was reached, by time.monotonic(); None before.
    """

    resource: str
    wanted: int
    holds: Callable[[Object], bool] = exists
    metadata: bool = False
    at: float | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _names: set[str] = field(default_factory=set)
    _each: dict[str, asyncio.Event] = field(default_factory=dict)

    def see(self, kind: str, obj: Object, now: float) -> None:
        """Take in an event of a watch."""
        name = obj["metadata"]["name"]
        if kind != "DELETED" and self.holds(obj):
            self._names.add(name)
            self.of(name).set()
        else:
            self._names.discard(name)
        if self.at is None and len(self._names) >= self.wanted:
            self.at = now
            self.reached.set()

    def of(self, name: str) -> asyncio.Event:
        """Return what is set once the object of this name has fulfilled it."""
        return self._each.setdefault(name, asyncio.Event())

    @property
    def so_far(self) -> int:
        """How many fulfil it now."""
        return len(self._names)


@asynccontextmanager
async def watching(client: Client, milestones: Iterable[Milestone]) -> AsyncIterator[None]:
    """Have milestones see what happens in the namespace from now on, what is there already first."""
    streams: dict[tuple[str, bool], list[Milestone]] = {}
    for milestone in milestones:
        streams.setdefault((milestone.resource, milestone.metadata), []).append(milestone)
    tasks = []
    for (resource, metadata), concerned in streams.items():
        listed = await client.list(resource, NAMESPACE)
        for obj in listed["items"]:
            for milestone in concerned:
                milestone.see("ADDED", obj, time.monotonic())
        since = listed["metadata"]["resourceVersion"]
        tasks.append(asyncio.create_task(_follow(client, resource, since, concerned, metadata=metadata)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _follow(
    client: Client, resource: str, since: str, milestones: list[Milestone], *, metadata: bool
) -> None:
    async for event in client.watch(resource, NAMESPACE, since, metadata=metadata):
        if event["type"] == "ERROR":
            raise ClusterError(f"the watch of {resource} broke off: {event['object'].get('message')}")
        now = time.monotonic()
        for milestone in milestones:
            milestone.see(event["type"], event["object"], now)


async def all_reached(milestones: Iterable[Milestone], seconds: float) -> float:
    """Wait for milestones and return when the last was reached, by time.monotonic().

    Args:
        milestones: which.
        seconds: how long to wait at most.

    Raises:
        ClusterError: they are not reached in time; says how far each is.
    """
    wanted = list(milestones)
    try:
        async with asyncio.timeout(seconds):
            for milestone in wanted:
                await milestone.reached.wait()
    except TimeoutError:
        late = [each for each in wanted if each.at is None]
        told = ", ".join(f"{each.so_far} of {each.wanted} {each.resource}" for each in late)
        raise ClusterError(f"not within {seconds:.0f} s: {told}") from None
    return max(each.at for each in wanted if each.at is not None)


@contextmanager
def telling(step: Step, milestone: Milestone, what: str) -> Iterator[None]:
    """Have a step show how far a milestone is."""

    async def tell() -> None:
        while True:
            step.detail = f"{milestone.so_far} of {milestone.wanted} {what}"
            await asyncio.sleep(_TELL_SECONDS)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
