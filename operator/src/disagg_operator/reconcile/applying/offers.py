"""When keys were offered last, so that not every reconcile offers them while pods wait.

Invariant: a key is held back only if one was offered a short while ago for the same owner; so what goes with
a new owner is offered at once. Losing this memory costs a request for each key.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.pauses import is_recent

OFFER_SECONDS = 10.0
"""Pause between two offers of a key while a pod waits."""
_PAUSE = timedelta(seconds=OFFER_SECONDS)


@dataclass
class Offers:
    """Remembers which keys were offered a short while ago."""

    _made: dict[Key, dict[tuple[str, str], datetime]] = field(default_factory=dict)

    def is_due(self, key: Key, secret: Object, owner: Object | None, now: datetime) -> bool:
        """Tell whether a key is to be offered.

        Args:
            key: the deployment.
            secret: the Secret of the key.
            owner: what it goes with; None where it says that already.
            now: the time.
        """
        last = self._made.get(key, {}).get(_identity(secret, owner))
        return last is None or not is_recent(last, now, _PAUSE)

    def note(self, key: Key, secret: Object, owner: Object | None, now: datetime) -> None:
        """Remember that a key was offered; see `is_due`."""
        recent = {each: at for each, at in self._made.get(key, {}).items() if is_recent(at, now, _PAUSE)}
        self._made[key] = {**recent, _identity(secret, owner): now}

    def left(self, key: Key, now: datetime) -> float:
        """Return the seconds until the next key of a deployment is due: all of the pause if none was offered.

        Args:
            key: the deployment.
            now: the time.
        """
        recent = (at for at in self._made.get(key, {}).values() if is_recent(at, now, _PAUSE))
        return min(((at + _PAUSE - now).total_seconds() for at in recent), default=OFFER_SECONDS)

    def forget(self, key: Key) -> None:
        """Forget a deployment that is gone."""
        self._made.pop(key, None)


def _identity(secret: Object, owner: Object | None) -> tuple[str, str]:
    metadata = secret["metadata"]
    uid = metadata["ownerReferences"][0]["uid"] if owner is None else owner["metadata"]["uid"]
    return metadata["name"], uid
