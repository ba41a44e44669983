"""Events that were looked up a short while ago, so that not every reconcile asks for them while pods wait.

An API server reads all Events of a namespace to answer. Where a thousand deployments wait at a time, as while
a rack starts, most of them wait for nothing that Events would tell.

Invariants: what is told is no older than `AGAIN_SECONDS`, after which a deployment that still waits is
reconciled; and however many wait, no more is asked for than `PER_SECOND` after the first `AT_ONCE` looks.
Losing this memory costs a request for each object about which Events are asked for.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.pauses import is_recent
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS

AT_ONCE = 20
PER_SECOND = 1.0
_PAUSE = timedelta(seconds=AGAIN_SECONDS)
_NEXT = timedelta(seconds=10)
"""Pause where it is another pod of the role that waits: its pods come one after the other."""


@dataclass(frozen=True)
class _Look:
    uid: str
    at: datetime
    found: Sequence[Object]


@dataclass
class Looks:
    """Remembers what Events told a short while ago."""

    _made: dict[Key, dict[tuple[str, str], _Look]] = field(default_factory=dict)
    _left: float = AT_ONCE
    _counted: datetime | None = None

    async def events(
        self,
        key: Key,
        topic: tuple[str, str],
        uid: str,
        now: datetime,
        ask: Callable[[], Awaitable[Sequence[Object]]],
    ) -> Sequence[Object]:
        """Return Events; none where it is too soon to ask for them.

        Args:
            key: the deployment.
            topic: a role, and the Events' reason.
            uid: of the object of that role that they are about.
            now: the time.
            ask: asks for them.
        """
        made = self._made.get(key, {})
        recent = {each: look for each, look in made.items() if is_recent(look.at, now, _PAUSE)}
        self._made[key] = recent
        look = recent.get(topic)
        if look is not None and look.uid == uid:
            return look.found
        if (look is not None and is_recent(look.at, now, _NEXT)) or not self._may_ask(now):
            return ()
        recent[topic] = look = _Look(uid, now, await ask())
        return look.found

    def _may_ask(self, now: datetime) -> bool:
        passed = 0.0 if self._counted is None else max(0.0, (now - self._counted).total_seconds())
        self._counted, self._left = now, min(AT_ONCE, self._left + passed * PER_SECOND)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def forget(self, key: Key) -> None:
        """Forget a deployment that is gone."""
        self._made.pop(key, None)
