"""Events about deployments, for `kubectl describe` and `kubectl events`.

Invariants: recording never waits and never fails; one reason and message about one object is posted once in
ten minutes; a burst beyond the rate limit is dropped and counted. Events are news, the status is the truth.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import Kind, Object

logger = logging.getLogger(__name__)

EVENT = Kind("events.k8s.io/v1", "Event", "events")
REPEAT_SECONDS = 600.0
BURST = 50
PER_SECOND = 5.0
_LONGEST_NOTE = 1000
_CONTROLLER = "disagg.dev/operator"


class Creator(Protocol):
    """Where Events are posted; see `kube.KubeCluster`."""

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create the Event."""
        ...


class EventRecorder:
    """Posts Events in the background."""

    def __init__(
        self,
        creator: Creator,
        instance: str,
        *,
        recorded: Callable[[str], None] = lambda _: None,
        dropped: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a recorder; `run` it as a task.

        Args:
            creator: where Events are posted.
            instance: name of this process, which the Events show.
            recorded: is called with the reason of each Event that is to be posted.
            dropped: is called for each Event beyond the rate limit.
        """
        self._creator, self._instance = creator, instance
        self._recorded, self._dropped = recorded, dropped
        self._queue: asyncio.Queue[Object] = asyncio.Queue(maxsize=BURST)
        self._posted: dict[tuple[str, str, str], float] = {}

    def record(self, resource: Object, kind: str, reason: str, message: str) -> None:
        """Have an Event posted soon, unless the same was posted a while ago."""
        now = asyncio.get_running_loop().time()
        key = (resource["metadata"]["uid"], reason, message)
        self._posted = {known: at for known, at in self._posted.items() if now - at < REPEAT_SECONDS}
        if key in self._posted:
            return
        try:
            self._queue.put_nowait(_event(resource, kind, reason, message, self._instance))
        except asyncio.QueueFull:
            self._dropped()
        else:
            self._posted[key] = now
            self._recorded(reason)

    async def run(self) -> None:
        """Post Events until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._creator.create(EVENT, event)
            except ClusterError as error:
                logger.warning("could not post Event %s: %s", event["reason"], error)
            await asyncio.sleep(1 / PER_SECOND)


def _event(resource: Object, kind: str, reason: str, message: str, instance: str) -> Object:
    metadata = resource["metadata"]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {
            "name": f"{metadata['name'][:200]}.{secrets.token_hex(8)}",
            "namespace": metadata["namespace"],
        },
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": _CONTROLLER,
        "reportingInstance": instance,
        "action": "Reconcile",
        "type": kind,
        "reason": reason,
        "note": message[:_LONGEST_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }
