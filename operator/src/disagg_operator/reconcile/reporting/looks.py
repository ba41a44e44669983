"""Events that were looked up a short while ago, so that not every reconcile asks for them while pods wait.

Invariant: nothing that is told is older than `AGAIN_SECONDS`, after which a deployment that still waits is
reconciled. Losing this memory costs a request for each object about which Events are asked for.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS

_PAUSE = timedelta(seconds=AGAIN_SECONDS)


@dataclass(frozen=True)
class _Look:
    at: datetime
    found: Sequence[Object]

    def is_recent(self, now: datetime) -> bool:
        # A clock that was set back hides nothing.
        return timedelta(0) <= now - self.at < _PAUSE


@dataclass
class Looks:
    """Remembers what Events told a short while ago."""

    _made: dict[Key, dict[tuple[str, str], _Look]] = field(default_factory=dict)

    async def events(
        self,
        key: Key,
        about: tuple[str, str],
        now: datetime,
        ask: Callable[[], Awaitable[Sequence[Object]]],
    ) -> Sequence[Object]:
        """Return Events, and ask for them only where that was not done a short while ago.

        Args:
            key: the deployment.
            about: uid of the object that they are about, and their reason.
            now: the time.
            ask: asks for them.
        """
        recent = {each: look for each, look in self._made.get(key, {}).items() if look.is_recent(now)}
        if about not in recent:
            recent[about] = _Look(now, await ask())
        self._made[key] = recent
        return recent[about].found

    def forget(self, key: Key) -> None:
        """Forget a deployment that is gone."""
        self._made.pop(key, None)
