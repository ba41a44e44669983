"""Reflectors: each keeps the cache of one kind in step with the API server, by a list and then a watch.

Invariants: after a list the cache holds just what was listed; what vanished while no watch was running is
forgotten, and whom it concerns is told. A watch that falls silent is not trusted: bookmarks come every minute
even where nothing happens. What may be missing (a kind that is not served, a permission that was not granted)
is asked for again once in a while, and nobody waits for it.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Container, Iterable
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from disagg_operator.reconcile.errors import ClusterError, GoneError
from disagg_operator.reconcile.kinds import Kind, Object
from disagg_operator.runtime.versions import Address, address_of

logger = logging.getLogger(__name__)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAGE = 200
"""Objects to list at once: a parsed page takes ten times its memory, and a dozen lists begin together."""
LASTING_SECONDS = 300.0
QUIET_SECONDS = 90.0
REFUSED_SECONDS = 600.0
_REFUSALS = {401, 403, 404}
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


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


class Cache(Protocol[T_co]):
    """Where a reflector puts objects; see `store.Store`. Each method says whom the change concerns."""

    @property
    def kind(self) -> Kind:
        """The kind of its objects."""
        ...

    def put(self, obj: Object) -> Iterable[T_co]:
        """Take in an object."""
        ...

    def remove(self, address: Address) -> Iterable[T_co]:
        """Forget an object."""
        ...

    def keep_only(self, namespace: str | None, there: Container[Address]) -> Iterable[T_co]:
        """Forget what is not there any more: a list is in."""
        ...


class Reflector(Generic[T]):
    """Keeps one cache in step, for one namespace or all."""

    def __init__(
        self,
        source: Source,
        cache: Cache[T],
        namespace: str | None,
        selector: str,
        *,
        changed: Callable[[T], None],
        restarted: Callable[[str, str], None] = lambda *_: None,
        refused: Callable[[], Iterable[T]] | None = None,
        progressed: Callable[[str | None, str], None] = lambda *_: None,
        page: int = PAGE,
        rest: float = REFUSED_SECONDS,
    ) -> None:
        """Make a reflector; `run` it as a task.

        Args:
            source: where objects are listed and watched.
            cache: where they are kept.
            namespace: where to look; None looks everywhere.
            selector: label selector.
            changed: is told each whom a change concerns.
            restarted: is told kind and reason of each new start of a watch.
            refused: is called where the API server does not serve the kind or does not let it be read, for a
                kind that may be missing, and says whom that concerns; None for one that must be there.
            progressed: is told the namespace and the resource version that list or watch has come to, before
                what it brought is put into the cache or removed from it.
            page: objects to list at once.
            rest: seconds after which it is asked again for what was refused.
        """
        self._source, self._cache, self._namespace, self._selector = source, cache, namespace, selector
        self._changed, self._restarted, self._refused, self._page = changed, restarted, refused, page
        self._rest_seconds, self._resting, self._progressed = rest, False, progressed
        self._version: str | None = None
        self._last_heard: float | None = None
        self.synced = asyncio.Event()
        """Set once the first list is in, or refused for a kind that may be missing."""

    def silence(self) -> float:
        """Return the seconds since the API server was last heard of, or 0 before the first list."""
        return 0.0 if self._last_heard is None else asyncio.get_running_loop().time() - self._last_heard

    async def run(self) -> None:
        """List and watch until cancelled."""
        short = 0
        while True:
            began, at_least = asyncio.get_running_loop().time(), 0.0
            try:
                await self._round()
            except GoneError:
                self._version = None
                self._note("expired", logging.INFO, "the watch is too old to go on: listing again")
            except TimeoutError:
                self._note("stalled", logging.WARNING, f"no word within {QUIET_SECONDS:.0f} s")
            except ClusterError as error:
                if self._refused is not None and error.code in _REFUSALS:
                    await self._rest(self._refused, error)
                    continue
                self._note("error", logging.WARNING, str(error))
                at_least = error.retry_after or _FIRST_PAUSE
            else:
                self._note("closed", logging.DEBUG, "the API server ended the watch")
            # Whatever the reason: rounds that end soon, one after the other, must not become a flood.
            lasted = asyncio.get_running_loop().time() - began
            short = short + 1 if lasted < _LONGEST_PAUSE else 0
            await self._pause(short, at_least)

    @staticmethod
    async def _pause(short: int, at_least: float) -> None:
        """Wait before the next round.

        Args:
            short: how many rounds in a row ended soon; the first of them has no pause of its own.
            at_least: seconds that are waited in any case.
        """
        growing = 0.0 if short <= 1 else min(_FIRST_PAUSE * 2 ** min(short - 1, 10), _LONGEST_PAUSE)
        pause = max(growing, at_least)
        await asyncio.sleep(pause * (1 + random.random() / 2))  # noqa: S311 - spreads load, no secret

    async def _rest(self, refused: Callable[[], Iterable[T]], error: ClusterError) -> None:
        self._tell(refused())
        self._version = self._last_heard = None
        self.synced.set()
        level = logging.DEBUG if self._resting else logging.INFO
        self._resting = True
        self._note("refused", level, f"{error}; asked again every {self._rest_seconds / 60:.0f} min")
        pause = self._rest_seconds * (1 + random.random() / 2)  # noqa: S311 - spreads load, no secret
        await asyncio.sleep(pause)

    async def _round(self) -> None:
        if self._version is None:
            self._version = await self._list()
            self._resting = False
            self.synced.set()
        events = self._source.watch(
            self._cache.kind,
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
                self._cache.kind, self._namespace, self._selector, token, self._page
            )
            self._hear()
            version = str(page["metadata"]["resourceVersion"])
            self._progressed(self._namespace, version)
            for obj in page["items"]:
                there.add(address_of(obj))
                self._tell(self._cache.put(obj))
            token = page["metadata"].get("continue")
            if not token:
                break
        self._tell(self._cache.keep_only(self._namespace, there))
        return version

    def _take(self, event: Object) -> None:
        obj = event["object"]
        version = self._version = str(obj["metadata"]["resourceVersion"])
        self._progressed(self._namespace, version)
        if event["type"] == "BOOKMARK":
            return
        gone = event["type"] == "DELETED"
        self._tell(self._cache.remove(address_of(obj)) if gone else self._cache.put(obj))

    def _tell(self, concerned: Iterable[T]) -> None:
        for each in concerned:
            self._changed(each)

    def _hear(self) -> None:
        self._last_heard = asyncio.get_running_loop().time()

    def _note(self, reason: str, level: int, message: str) -> None:
        kind = self._cache.kind.kind
        self._restarted(kind, reason)
        logger.log(level, "watch of %s: %s", kind, message)
