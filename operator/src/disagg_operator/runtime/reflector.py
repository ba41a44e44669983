"""Reflectors: each keeps the cache of one kind in step with the API server, by a list and then a watch.

Invariants: after a list the cache holds just what was listed; what vanished while no watch was running is
forgotten, and its deployment is reconciled. A watch that falls silent is not trusted: bookmarks come every
minute even where nothing happens.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from disagg_operator.reconcile.errors import ClusterError, GoneError
from disagg_operator.reconcile.kinds import Key, Kind, Object
from disagg_operator.runtime.store import Address, Store, address_of

logger = logging.getLogger(__name__)

PAGE = 500
LASTING_SECONDS = 300.0
QUIET_SECONDS = 90.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class Source(Protocol):
    """Where objects are listed and watched; see `kube.KubeCluster` for the arguments."""

    async def list_page(
        self, kind: Kind, namespace: str | None, selector: str, token: str | None, limit: int
    ) -> Object:
        """Return one page of a list."""
        ...

    def watch(
        self, kind: Kind, namespace: str | None, selector: str, since: str, *, lasting: float, quiet: float
    ) -> AsyncGenerator[Object]:
        """Yield watch events."""
        ...


class Reflector:
    """Keeps one store in step, for one namespace or all."""

    def __init__(
        self,
        source: Source,
        store: Store,
        namespace: str | None,
        selector: str,
        *,
        changed: Callable[[Key], None],
        restarted: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        """Make a reflector; `run` it as a task.

        Args:
            source: where objects are listed and watched.
            store: the cache.
            namespace: where to look; None looks everywhere.
            selector: label selector.
            changed: is told each deployment whose objects changed.
            restarted: is told kind and reason of each new start of a watch.
        """
        self._source, self._store, self._namespace, self._selector = source, store, namespace, selector
        self._changed, self._restarted = changed, restarted
        self._version: str | None = None
        self._last_heard: float | None = None
        self.synced = asyncio.Event()
        """Set once the first list is in."""

    def silence(self) -> float:
        """Return the seconds since the API server was last heard of, or 0 before the first list."""
        return 0.0 if self._last_heard is None else asyncio.get_running_loop().time() - self._last_heard

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            try:
                await self._round()
            except GoneError:
                self._version = None
                self._note("expired", logging.INFO, "the watch is too old to go on: listing again")
                continue
            except TimeoutError:
                self._note("stalled", logging.WARNING, f"no word within {QUIET_SECONDS:.0f} s")
            except ClusterError as error:
                failures += 1
                self._note("error", logging.WARNING, str(error))
                pause = min(_FIRST_PAUSE * 2 ** min(failures, 10), _LONGEST_PAUSE)
                await asyncio.sleep(pause * (1 + random.random() / 2))  # noqa: S311 - spreads load, no secret
                continue
            else:
                self._note("closed", logging.DEBUG, "the API server ended the watch as agreed")
            failures = 0

    async def _round(self) -> None:
        if self._version is None:
            self._version = await self._list()
            self.synced.set()
        events = self._source.watch(
            self._store.kind,
            self._namespace,
            self._selector,
            self._version,
            lasting=LASTING_SECONDS,
            quiet=QUIET_SECONDS,
        )
        async with aclosing(events):
            async for event in events:
                self._hear()
                self._take(event)

    async def _list(self) -> str:
        there: set[Address] = set()
        token: str | None = None
        while True:
            page = await self._source.list_page(
                self._store.kind, self._namespace, self._selector, token, PAGE
            )
            self._hear()
            for obj in page["items"]:
                there.add(address_of(obj))
                self._tell(self._store.put(obj))
            token = page["metadata"].get("continue")
            if not token:
                break
        for key in self._store.keep_only(self._namespace, there):
            self._changed(key)
        return str(page["metadata"]["resourceVersion"])

    def _take(self, event: Object) -> None:
        obj = event["object"]
        self._version = obj["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return
        # A label may have moved the object from one deployment to another: both are told.
        self._tell(self._store.remove(address_of(obj)))
        if event["type"] != "DELETED":
            self._tell(self._store.put(obj))

    def _tell(self, owner: Key | None) -> None:
        if owner is not None:
            self._changed(owner)

    def _hear(self) -> None:
        self._last_heard = asyncio.get_running_loop().time()

    def _note(self, reason: str, level: int, message: str) -> None:
        kind = self._store.kind.kind
        self._restarted(kind, reason)
        logger.log(level, "watch of %s: %s", kind, message)
