"""The controller: workers that take deployments from the queue and reconcile them.

Every outcome ends in the queue: done means again at the next resync, a failure means again after a growing
interval. Nothing is swallowed: what is no known outcome is logged with its traceback and counted as an error.

Where nothing is to be written, a reconcile waits for nothing. So workers take turns, and the event loop does
what else is due between one reconcile and the next: however many wait, answers are read, and the Lease is
renewed.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.reconcile.errors import BlockedError, RetrySoonError
from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.reconciler import Reconciler
from disagg_operator.runtime.health import Health
from disagg_operator.runtime.leader import LeaseLostError
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.queue import WorkQueue

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.25
"""Pause between a change of a child and its reconcile: changes come in bursts, and are looked at together."""
_SETTLE_SECONDS_PER_OBJECT = 0.001
"""The same for each object of a large deployment, of which a reconcile reads all: ten times as long as that
takes, so that a thousand pods which come one by one cost a tenth of a core and not a whole one."""
LONGEST_RETRY_SECONDS = 10.0
"""Bound of the pause between tries while nobody but the API server is at fault, so that work goes on soon
after the trouble ends; stretched by up to a half of itself."""
_SPREAD = 0.2
_MANY = 3
"""Deployments that are reconciled at the same time where the API server has time enough for each."""


@dataclass
class Controller:
    """Keeps all deployments reconciled.

    Attributes:
        reconciler: does one reconcile.
        metrics: where results and durations are shown.
        health: where the workers show that they are alive.
        workers: deployments that are reconciled at the same time.
        resync: seconds after which a deployment is reconciled though nothing happened, ± 20 %.
        objects: returns how many objects a deployment has.
        status: returns the status of a deployment as it is by now; empty where there is none.
    """

    reconciler: Reconciler
    metrics: Metrics
    health: Health
    workers: int
    resync: float
    objects: Callable[[Key], int]
    status: Callable[[Key], Mapping[str, Any]]
    queue: WorkQueue[Key] = field(init=False)
    _checked: set[Key] = field(init=False, default_factory=set)
    _turn: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(waited=self.metrics.queue_seconds.observe)
        self.metrics.queue_depth.set_function(lambda: len(self.queue))
        self.metrics.deployments_checked.set_function(lambda: len(self._checked))
        self.metrics.queue_delayed.set_function(lambda: self.queue.delayed)
        self.metrics.queue_failing.set_function(lambda: self.queue.failing)

    def child_changed(self, key: Key) -> None:
        """Have a deployment reconciled because one of its objects changed."""
        pause = max(SETTLE_SECONDS, self.objects(key) * _SETTLE_SECONDS_PER_OBJECT)
        self.queue.add_after(key, pause)

    def busy(self) -> bool:
        """Tell whether many deployments are reconciled at the same time, and so wait for the API server."""
        return self.queue.unfinished > _MANY

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LeaseLostError: this process no longer leads.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.workers):
                    group.create_task(self._work(number), name=f"worker {number}")
        except ExceptionGroup as group:
            # Not `except*`: until Python 3.11.3 what is raised there comes out inside another group.
            lost = group.subgroup(LeaseLostError)
            if lost is None:
                raise
            raise lost.exceptions[0] from None
        finally:
            self.queue.close()

    async def _work(self, number: int) -> None:
        while True:
            key = await self.queue.get()
            async with self._turn:
                await asyncio.sleep(0)
            self.health.working_since[number] = asyncio.get_running_loop().time()
            try:
                with self.metrics.reconcile_seconds.time():
                    result = await self._reconcile(key)
            finally:
                del self.health.working_since[number]
                self.queue.done(key)
            self.metrics.reconciles.labels(result).inc()
            self.metrics.show_status(key, self.status(key))

    async def _reconcile(self, key: Key) -> str:
        context = {"deployment": str(key)}
        try:
            outcome = await self.reconciler.reconcile(key)
        except LeaseLostError:
            raise
        except RetrySoonError as error:
            delay = self.queue.retry(key, error.after or 0.0, longest=LONGEST_RETRY_SECONDS)
            logger.info("again in %.1f s: %s", delay, error, extra=context)
            return "retry"
        except BlockedError as error:
            delay = self.queue.retry(key)
            logger.warning("blocked, again in %.1f s: %s", delay, error, extra=context)
            return "blocked"
        except Exception:
            delay = self.queue.retry(key)
            logger.exception("this is a bug; again in %.1f s", delay, extra=context)
            return "error"
        self.queue.forget(key)
        self.metrics.show_transport(key, outcome.transport)
        if not outcome.there:
            self._checked.discard(key)
            return "gone"
        self._checked.add(key)
        spread = 1 - _SPREAD + 2 * _SPREAD * random.random()  # noqa: S311 - spreads load, no secret
        self.queue.add_after(key, self.resync * spread if outcome.again is None else outcome.again)
        return "done"
