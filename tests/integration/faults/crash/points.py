"""Points at which the operator is killed, each a call of its about one deployment. Pure. TEST TOOL.

A write has two points: before the API server hears of it, and after it has answered and before the operator
knows. A read has one, since it changes nothing: killed before, at or after it, the operator leaves what its
last write left.

Invariant: labels and texts of one scenario are the same for all deployments and in all runs.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from integration.faults.requests import READS, Call

When = Literal["before", "after", "at"]

_OWNER = re.compile(r"^(dd\d{4})(?=[-.]|$)")
_FRONTEND_POD = re.compile(r"(NAME-frontend)-[a-z0-9]{6,10}-[a-z0-9]{5}\b")
_DIGEST = re.compile(r"\b[0-9a-f]{8,64}\b")
_UID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def name_of(number: int) -> str:
    """Return the name of a deployment of these tests."""
    return f"dd{number:04d}"


def owner_of(name: str) -> str | None:
    """Return the deployment that an object belongs to by its name."""
    found = _OWNER.match(name)
    return found[1] if found else None


def neutral(text: str, deployment: str) -> str:
    """Return a text without what differs from one deployment or run to the next."""
    text = _FRONTEND_POD.sub(r"\1-POD", text.replace(deployment, "NAME"))
    return _DIGEST.sub("DIGEST", _TIME.sub("TIME", _UID.sub("UID", text)))


@dataclass(frozen=True)
class Labelled:
    """A call about a deployment.

    Attributes:
        deployment: its name.
        label: verb and object, such as ``apply services/NAME-frontend``; of an Event, its reason.
        write: whether it may change anything.
    """

    deployment: str
    label: str
    write: bool


def labelled(call: Call) -> Labelled | None:
    """Return what a call is about, or None where that is no one deployment."""
    owner = owner_of(call.name)
    if owner is None:
        return None
    # Events have names of their own each.
    is_event = call.resource == "events" and call.verb == "create"
    about = json.loads(call.body)["reason"] if is_event else neutral(call.name, owner)
    below = f"/{call.subresource}" if call.subresource else ""
    return Labelled(owner, f"{call.verb} {call.resource}/{about}{below}", call.verb not in READS)


@dataclass(frozen=True, order=True)
class Point:
    """Where the operator is to die.

    Attributes:
        label: of the call.
        occurrence: which call with this label, from 1.
        when: before the API server hears of it, after it answered, or (of a read) at it.
    """

    label: str
    occurrence: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.label} #{self.occurrence}"

    @property
    def is_write(self) -> bool:
        """Whether the call may change anything."""
        return self.when != "at"

    @property
    def is_event(self) -> bool:
        """Whether the call posts an Event, which the operator does one at a time for all deployments."""
        return " events/" in self.label


def points_of(runs: Iterable[Iterable[Labelled]]) -> list[Point]:
    """Return all points of a scenario, in the order of its calls.

    Args:
        runs: the calls of undisturbed runs. One may have a call less than another.
    """
    found: dict[Point, None] = {}
    for calls in runs:
        count: Counter[str] = Counter()
        for call in calls:
            count[call.label] += 1
            found.update((point, None) for point in _points(call, count[call.label]))
    return list(found)


def sample(points: Sequence[Point], count: int, seed: int) -> list[Point]:
    """Return some points, in their order, and the same ones whatever their order is.

    Args:
        points: all of them.
        count: how many at most.
        seed: by which they are drawn.
    """
    chosen = random.Random(seed).sample(sorted(points), min(count, len(points)))  # noqa: S311 - no secret
    return [point for point in points if point in chosen]


def _points(call: Labelled, occurrence: int) -> Iterator[Point]:
    if call.write:
        yield Point(call.label, occurrence, "before")
        yield Point(call.label, occurrence, "after")
    else:
        yield Point(call.label, occurrence, "at")
