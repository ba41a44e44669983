"""What a user did according to the API server's audit log: writes, watches, reads that a cache could answer.

Invariants: a request counts once, when it is complete; requests about Leases are kept apart; a `get` or
`list` of a kind that the same user watches all the while is one that its cache could answer.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READS = frozenset({"get", "list"})
_COMPLETE, _STARTED = "ResponseComplete", "ResponseStarted"


@dataclass(frozen=True)
class Traffic:
    """Requests of one user, by words such as `patch disaggdeployments/status`.

    Attributes:
        writes: what changes something, but for Leases.
        cached: reads of kinds that the user watches.
        others: further reads: logs, schemas, kinds that it does not watch.
        watches: watches that began.
        leases: all about Leases.
    """

    writes: Counter[str] = field(default_factory=Counter)
    cached: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    watches: Counter[str] = field(default_factory=Counter)
    leases: Counter[str] = field(default_factory=Counter)

    @property
    def reads(self) -> Counter[str]:
        """All reads but watches."""
        return self.cached + self.others


def read(log: Path, start: int, end: int | None = None) -> list[Mapping[str, Any]]:
    """Return the entries that were written to the log between two sizes of it, in bytes."""
    with log.open("rb") as lines:
        lines.seek(start)
        text = lines.read() if end is None else lines.read(end - start)
    # What comes after the last end of a line is half written.
    return [json.loads(line) for line in text.split(b"\n")[:-1]]


def watched_by(entries: Iterable[Mapping[str, Any]], user: str) -> frozenset[str]:
    """Return the resources of which this user began a watch."""
    return frozenset(
        resource_of(entry)
        for entry in entries
        if user_of(entry) == user and entry["verb"] == "watch" and "objectRef" in entry
    )


def traffic(entries: Iterable[Mapping[str, Any]], user: str, watched: frozenset[str]) -> Traffic:
    """Sort the requests of a user.

    Args:
        entries: of the audit log.
        user: name of the user.
        watched: resources of which it holds a watch.
    """
    found = Traffic()
    for entry in entries:
        if user_of(entry) != user:
            continue
        verb, resource = entry["verb"], resource_of(entry)
        words = f"{verb} {resource}"
        if verb == "watch":
            # One that lasts has no end yet.
            if entry["stage"] == _STARTED:
                found.watches[words] += 1
        elif entry["stage"] != _COMPLETE:
            continue
        elif resource == "leases":
            found.leases[words] += 1
        elif verb not in READS:
            found.writes[words] += 1
        elif resource in watched:
            found.cached[words] += 1
        else:
            found.others[words] += 1
    return found


def listed(counts: Mapping[str, int], each: float) -> str:
    """Tell counts for people, most first: `1.0 patch statefulsets, 0.5 …`.

    Args:
        counts: by words.
        each: what they are divided by, such as the number of deployments.
    """
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count / each:.3g} {words}" for words, count in most_first) or "none"


def user_of(entry: Mapping[str, Any]) -> str:
    """Return the name of the user who asked."""
    return str(entry.get("user", {}).get("username", ""))


def resource_of(entry: Mapping[str, Any]) -> str:
    """Return what was asked about: `pods`, `pods/status`, or the path where that is no resource."""
    about = entry.get("objectRef")
    if about is None:
        return str(entry.get("requestURI", "")).partition("?")[0]
    return "/".join(part for part in (about.get("resource", ""), about.get("subresource", "")) if part)
