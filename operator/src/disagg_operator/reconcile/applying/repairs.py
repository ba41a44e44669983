"""What somebody else changed or deleted of a deployment's objects: it is put right, and told.

An object that carries the hash of what is desired and yet differs was changed by somebody else; one that is
desired, was there and is gone was deleted. It is put right at once, and once more; what is then changed again
and again, by another controller, is put right with pauses of 10 s, doubling to 5 min.

Invariant: pure, but for `Repairs`, which remembers when what was put right. Losing that costs a pause.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import MISSING, Difference, applied_hash, drift, identity
from disagg_operator.reconcile.kinds import Key, Object, describe
from disagg_operator.reconcile.pauses import LASTED, pause

_FREE = 2
"""Repairs of one object that are made without a pause."""
_SHOWN = 3
_LONGEST_VALUE = 40
_HOW = (
    "Change the DisaggDeployment instead, or have the operator leave its objects alone: kubectl annotate dd "
    f"NAME {names.ANNOTATION_PAUSED}=true"
)

Identity = tuple[str, str]


def damage(desired: Object, live: Object | None, lost: Container[Identity]) -> str:
    """Say what somebody else did to an object, or nothing where its desired content is new.

    Args:
        desired: the object with its hash.
        live: the object as last seen, or None.
        lost: objects that were there and vanished since the last reconcile.
    """
    if live is None:
        return f"{describe(desired)} was deleted, and is made again" if identity(desired) in lost else ""
    if applied_hash(live) != applied_hash(desired):
        return ""
    told = [_told(each) for each in drift(desired, live)]
    if not told:
        return ""
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{describe(desired)} was changed, and is put right: {', '.join(told[:_SHOWN])}{more}"


def repaired(text: str, *, again: bool) -> str:
    """Return what the user is told of a repair.

    Args:
        text: what was done to the object.
        again: whether that goes on and on.
    """
    if again:
        return f"{text}. It is changed again and again: it is put right every 5 minutes at last. {_HOW}"
    return f"{text}. {_HOW}"


@dataclass
class _Record:
    count: int
    last: datetime


@dataclass
class Repairs:
    """Remembers what was put right, so that two controllers that disagree do not keep each other busy."""

    _records: dict[Key, dict[Identity, _Record]] = field(default_factory=dict)
    _postponed: dict[Key, dict[Identity, datetime]] = field(default_factory=dict)

    def may_repair(self, key: Key, obj: Object, now: datetime) -> bool:
        """Tell whether an object may be put right now; otherwise it is `due` later."""
        record = self._records.get(key, {}).get(identity(obj))
        due = now if record is None else record.last + _pause(record.count)
        if due <= now:
            return True
        self._postponed.setdefault(key, {})[identity(obj)] = due
        return False

    def note(self, key: Key, obj: Object, now: datetime) -> bool:
        """Remember that an object was put right; return whether that happens again and again."""
        of_deployment = self._records.setdefault(key, {})
        for address in [each for each, record in of_deployment.items() if now - record.last > LASTED]:
            del of_deployment[address]
        record = of_deployment.setdefault(identity(obj), _Record(0, now))
        record.count, record.last = record.count + 1, now
        return record.count > _FREE

    def due(self, key: Key, now: datetime) -> Iterator[float]:
        """Yield the seconds until what was postponed is due, and forget that it was."""
        for at in self._postponed.pop(key, {}).values():
            yield (at - now).total_seconds()

    def forget(self, key: Key) -> None:
        """Forget a deployment that is gone."""
        self._records.pop(key, None)
        self._postponed.pop(key, None)


def _pause(count: int) -> timedelta:
    return timedelta(0) if count < _FREE else pause(count - _FREE + 1)


def _told(each: Difference) -> str:
    if each.found is MISSING:
        return f"{each.path} was missing"
    if _is_short(each.wanted) and _is_short(each.found):
        return f"{each.path} was {each.found}, not {each.wanted}"
    return f"{each.path} was another"


def _is_short(value: Any) -> bool:
    return isinstance(value, bool | int | str) and len(str(value)) <= _LONGEST_VALUE
