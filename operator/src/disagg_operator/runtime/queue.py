"""The work queue: which deployments are to be reconciled, each by one worker at a time.

Invariants: a key waits at most once; a key that is added while it is processed is processed once more
afterwards; a key is never processed by two workers at once. Nothing is lost: every add is followed by a get.
All methods belong to one event loop.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A queue of keys with de-duplication, delays and growing intervals between failures."""

    def __init__(
        self,
        *,
        base: float = 0.5,
        longest: float = 300.0,
        jitter: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Make an empty queue.

        Args:
            base: seconds until the first retry; each further one doubles.
            longest: bound of that interval in seconds.
            jitter: returns a number in [0, 1); an interval is stretched by up to a half of itself.
            waited: is told how long each key waited, in seconds.
        """
        self._base, self._longest, self._jitter, self._waited = base, longest, jitter, waited
        self._ready: OrderedDict[K, float] = OrderedDict()
        self._processing: set[K] = set()
        self._again: set[K] = set()
        self._delayed: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._waiters: asyncio.Queue[None] = asyncio.Queue()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def unfinished(self) -> int:
        """Keys that wait or are processed."""
        return len(self._ready) + len(self._processing)

    @property
    def delayed(self) -> int:
        """Keys that are processed at a later time."""
        return len(self._delayed)

    @property
    def failing(self) -> int:
        """Keys that were processed badly the last time."""
        return len(self._failures)

    def add(self, key: K) -> None:
        """Have the key processed as soon as a worker is free."""
        self._drop_timer(key)
        if key in self._processing:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._now()
            self._waiters.put_nowait(None)

    def add_after(self, key: K, delay: float) -> None:
        """Have the key processed after ``delay`` seconds, or earlier where that is asked for as well."""
        if key in self._ready:
            return
        due = self._now() + delay
        pending = self._delayed.get(key)
        if pending is not None:
            if pending.when() <= due:
                return
            pending.cancel()
        self._delayed[key] = asyncio.get_running_loop().call_at(due, self.add, key)

    def retry(self, key: K, at_least: float = 0.0, longest: float | None = None) -> float:
        """Have the key processed again after an interval that grows with its failures; return the seconds.

        Args:
            key: the key.
            at_least: seconds that the interval has in any case.
            longest: bound of the interval in seconds; None for the queue's own.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded before the multiplication, so that years of failures overflow nothing.
        bound = self._longest if longest is None else min(longest, self._longest)
        interval = min(self._base * 2.0 ** min(failures, 32), bound)
        delay = max(at_least, interval * (1 + self._jitter() / 2))
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the intervals of the key anew: it was processed well, or is gone."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it. `done` must follow."""
        await self._waiters.get()
        key, since = self._ready.popitem(last=False)
        self._processing.add(key)
        self._waited(self._now() - since)
        return key

    def done(self, key: K) -> None:
        """Give the key free after it was processed."""
        self._processing.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key)

    def close(self) -> None:
        """Cancel what is delayed. Nothing may be added afterwards."""
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()

    def _drop_timer(self, key: K) -> None:
        timer = self._delayed.pop(key, None)
        if timer is not None:
            timer.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
