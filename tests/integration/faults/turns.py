"""Whether operators that share a Lease wrote in turn, by the API server's audit log. Pure, but for `trail`.

A turn of a user begins with its first write of the Lease that the API server accepted, and ends when it has
received the first accepted one of another user. It receives and stamps all of them, so that one clock says
what came first.

Invariant: of two users that are never out of turn, no two writes are under way at the same time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.operator import audit

LEASE = "leases"
_READS = audit.READS | {"watch"}
_ACCEPTED = {200, 201}
_STARTED = "ResponseStarted"
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Write:
    """A write that the API server received: Events are meant, too, and refused ones.

    Attributes:
        user: who asked for it.
        verb: of Kubernetes.
        resource: plural, and subresource.
        name: of the object.
        code: HTTP status.
        began: when the API server had received it.
        ended: when it had answered.
    """

    user: str
    verb: str
    resource: str
    name: str
    code: int
    began: datetime
    ended: datetime

    def __str__(self) -> str:
        return (
            f"{self.user}: {self.verb} {self.resource} {self.name} {self.code} "
            f"from {self.began.isoformat()} to {self.ended.isoformat()}"
        )


@dataclass(frozen=True)
class Turn:
    """A time in which a user held the Lease."""

    user: str
    began: datetime
    ended: datetime


def trail(log: Path, since: int, users: Iterable[str]) -> list[Write]:
    """Return the writes of some users in the order in which they were received.

    Args:
        log: the audit log.
        since: size of the log, in bytes, from which on it is looked at.
        users: whose.
    """
    return writes(audit.read(log, since), users)


def writes(entries: Iterable[Mapping[str, Any]], users: Iterable[str]) -> list[Write]:
    """Return the writes of some users in the order in which they were received.

    Args:
        entries: of the audit log.
        users: whose.
    """
    wanted = set(users)
    found = [
        Write(
            user=audit.user_of(entry),
            verb=entry["verb"],
            resource=audit.resource_of(entry),
            name=entry["objectRef"].get("name", ""),
            code=entry["responseStatus"]["code"],
            began=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
            ended=datetime.fromisoformat(entry["stageTimestamp"]),
        )
        for entry in entries
        if audit.user_of(entry) in wanted
        and "objectRef" in entry
        and entry["verb"] not in _READS
        and entry["stage"] != _STARTED
    ]
    return sorted(found, key=lambda write: write.began)


def turns(made: Iterable[Write]) -> list[Turn]:
    """Return who held the Lease when.

    Args:
        made: writes in their order.
    """
    taken = [write for write in made if write.resource == LEASE and write.code in _ACCEPTED]
    firsts = [next(held) for _, held in groupby(taken, key=lambda write: write.user)]
    ends = [*(write.began for write in firsts[1:]), _NEVER]
    return [Turn(first.user, first.began, end) for first, end in zip(firsts, ends, strict=True)]


def out_of_turn(made: Iterable[Write]) -> list[str]:
    """Return the writes of anything but the Lease that did not lie wholly in a turn of their user's.

    Args:
        made: writes in their order.
    """
    found = list(made)
    held = turns(found)
    return [
        str(write)
        for write in found
        if write.resource != LEASE
        and not any(
            turn.user == write.user and turn.began < write.began and write.ended < turn.ended for turn in held
        )
    ]
