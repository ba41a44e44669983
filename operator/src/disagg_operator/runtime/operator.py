"""One operator process from start to end: stand by, lead, stop.

Invariants: what writes runs only between acquiring the Lease and giving it up; a process that loses the Lease
ends at once; everything that kopf must not touch is started before kopf and stopped by us.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from disagg_operator.plan import names
from disagg_operator.plan.installation import Installation
from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import (
    DISAGG_DEPLOYMENT,
    DISAGG_SCALER,
    GANGS,
    NETWORK_POLICY,
    OBSERVED,
    Key,
    Kind,
    Object,
)
from disagg_operator.reconcile.plans import Plans
from disagg_operator.reconcile.reconciler import Reconciler
from disagg_operator.runtime import glue, memory
from disagg_operator.runtime.cached import CachedCluster
from disagg_operator.runtime.controller import Controller
from disagg_operator.runtime.domains import ABSENT_SECONDS, ComputeDomains
from disagg_operator.runtime.events import EventRecorder
from disagg_operator.runtime.health import Health
from disagg_operator.runtime.leader import Elector
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.official import Configuration
from disagg_operator.runtime.reflector import Reflector
from disagg_operator.runtime.settings import Settings
from disagg_operator.runtime.signals import handle_signals
from disagg_operator.runtime.store import Store, Stores, itself
from disagg_operator.runtime.surroundings import Surroundings
from disagg_operator.runtime.verification.verifier import TransportVerifier

logger = logging.getLogger(__name__)

SELECTOR = f"{names.LABEL_MANAGED_BY}={names.MANAGER}"
_CRD_POLL_SECONDS = 2.0
_NEWER = (DISAGG_SCALER, NETWORK_POLICY)
"""Kinds that a chart of an older version, or roles made by hand for one, give no right to."""
_LARGE_OBJECTS = 100
"""Objects to list at once where each takes tens of kilobytes, as nodes do that list their images."""


class Operator:
    """The parts of one operator process, wired together."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        configuration: Configuration,
        metrics: Metrics,
        health: Health,
    ) -> None:
        """Wire the parts; `run` them once.

        Args:
            settings: what to run with.
            installation: what planning needs to know of it.
            configuration: how to reach the API server.
            metrics: where everything is counted.
            health: where the process says how it is.
        """
        self._settings, self._configuration = settings, configuration
        self._metrics, self._health = metrics, health
        self._identity = settings.pod_name or f"{socket.gethostname()}-{os.getpid()}"
        unused = () if settings.network_policies else (NETWORK_POLICY,)
        stores = tuple(Store(kind) for kind in OBSERVED if kind not in unused)
        self._deployments = Store(DISAGG_DEPLOYMENT, owner=itself)
        self._cluster = CachedCluster(
            configuration,
            self._deployments,
            counted=self._count,
            fence=self._check,
            changed=self._child_changed,
        )
        self._elector = Elector(self._cluster, settings.lease_namespace, settings.lease_name, self._identity)
        self._recorder = EventRecorder(
            self._cluster,
            self._identity,
            recorded=lambda reason: metrics.events.labels(reason).inc(),
            dropped=metrics.events_dropped.inc,
        )
        for store in stores:
            metrics.cached_objects.labels(store.kind.kind).set_function(store.__len__)
        barred = frozenset() if settings.gang_scheduling else frozenset(GANGS)
        self._surroundings = Surroundings(self._cluster, self._concerned, barred)
        self._verifier = TransportVerifier(self._cluster, self._concerned, metrics)
        self._domains = ComputeDomains(self._cluster, readable=settings.compute_domains)
        self._cluster.answer_to((*stores, self._domains.written))
        children = Stores((*stores, self._domains))
        reconciler = Reconciler(
            self._cluster,
            children,
            self._recorder,
            self._surroundings,
            self._verifier,
            self._domains,
            Plans(installation),
            busy=self._busy,
        )
        self._controller = Controller(
            reconciler,
            metrics,
            health,
            settings.workers,
            settings.resync_seconds,
            children.count,
            self._status,
        )
        self._reflectors: list[Reflector[Any]] = [
            *self._of_children(stores),
            *self._of_surroundings(),
            *self._of_domains(),
        ]

    def _of_children(self, stores: Iterable[Store]) -> Iterator[Reflector[Key]]:
        for store in stores:
            for namespace in self._settings.namespaces or (None,):
                yield Reflector(
                    self._cluster,
                    store,
                    namespace,
                    SELECTOR,
                    changed=self._controller.child_changed,
                    restarted=self._restarted,
                    progressed=store.progress,
                    # A chart of an older version lacks it. What it said last then holds on.
                    refused=tuple if store.kind in _NEWER else None,
                    rest=ABSENT_SECONDS,
                )

    def _of_surroundings(self) -> Iterator[Reflector[Kind]]:
        if not self._settings.preflight_nodes:
            return
        for cache in self._surroundings.caches:
            yield Reflector(
                self._cluster,
                cache,
                None,
                "",
                changed=self._surroundings.changed,
                restarted=self._restarted,
                refused=cache.refuse,
                page=_LARGE_OBJECTS,
            )

    def _of_domains(self) -> Iterator[Reflector[Key]]:
        for cache in self._domains.caches:
            for namespace in self._settings.namespaces or (None,):
                yield Reflector(
                    self._cluster,
                    cache,
                    namespace,
                    "",
                    changed=self._controller.child_changed,
                    restarted=self._restarted,
                    progressed=cache.progress,
                    refused=cache.refuse,
                    rest=ABSENT_SECONDS,
                )

    def _of_deployments(self) -> Iterator[Reflector[Key]]:
        for namespace in self._settings.namespaces or (None,):
            yield Reflector(
                self._cluster,
                self._deployments,
                namespace,
                "",
                changed=self._concerned,
                restarted=self._restarted,
                progressed=self._deployments.progress,
            )

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, then lead, until ``stop`` is set.

        Raises:
            LeaseLostError: another process may lead now; this one must end.
        """
        try:
            self._health.become_ready()
            if await _unless(stop, self._elector.acquire(self._stand_by)):
                await self._lead(stop)
        finally:
            await self._elector.release()
            self._metrics.leader.set(0)
            await self._cluster.close()

    def _stand_by(self, holder: str) -> None:
        logger.info("standing by: %s leads", holder)

    async def _lead(self, stop: asyncio.Event) -> None:
        logger.info("leading as %s", self._identity)
        self._metrics.leader.set(1)
        self._health.not_ready = "the caches are not in step yet"
        self._health.silence = lambda: max(reflector.silence() for reflector in self._reflectors)
        parts = [self._elector.hold(), self._recorder.run(), self._surroundings.run(), self._verifier.run()]
        tasks = [asyncio.create_task(part) for part in parts]
        tasks += [asyncio.create_task(reflector.run()) for reflector in self._reflectors]
        try:
            await _unless_ended(tasks, stop, self._wait_for_api())
            # Not before: until the kind is served, each list of it fails.
            deployments = list(self._of_deployments())
            self._reflectors += deployments
            tasks += [asyncio.create_task(reflector.run()) for reflector in deployments]
            await _unless_ended(tasks, stop, self._prepare())
            if not stop.is_set():
                tasks.append(asyncio.create_task(self._controller.run()))
                await self._watch(tasks, stop)
        finally:
            await _cancel(tasks)

    async def _prepare(self) -> None:
        """Wait until reconciling can begin: the caches are in step."""
        for reflector in self._reflectors:
            await reflector.synced.wait()
        memory.settle()
        self._health.become_ready()
        logger.info("ready")

    async def _wait_for_api(self) -> None:
        told = False
        while True:
            try:
                for namespace in self._settings.namespaces or (None,):
                    await self._cluster.list_page(DISAGG_DEPLOYMENT, namespace, "", None, 1)
            except NotFoundError:
                if not told:
                    logger.warning(
                        "the API server does not serve %s yet; install the CRDs", DISAGG_DEPLOYMENT.plural
                    )
                    told = True
            except ClusterError as error:
                logger.warning("cannot list %s: %s", DISAGG_DEPLOYMENT.plural, error)
            else:
                return
            await asyncio.sleep(_CRD_POLL_SECONDS)

    async def _watch(self, tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
        """Let kopf watch the deployments until ``stop`` is set or a part ends."""
        # The parts must have made their tasks by now: kopf takes every later one for its own and ends it.
        await asyncio.sleep(0)
        kopf_stop = asyncio.Event()
        watching = asyncio.create_task(
            glue.run(
                self._seen,
                self._configuration,
                self._settings.namespaces,
                kopf_stop,
                lambda: handle_signals(stop),
            )
        )
        try:
            await _unless_ended([*tasks, watching], stop, asyncio.Event().wait())
        finally:
            await _cancel(tasks)
            kopf_stop.set()
            await asyncio.wait([watching])

    def _busy(self) -> bool:
        return self._controller.busy()

    def _concerned(self, key: Key) -> None:
        self._controller.queue.add(key)

    def _child_changed(self, key: Key) -> None:
        self._controller.child_changed(key)

    def _seen(self, deployment: Object) -> None:
        for key in self._deployments.anticipate(deployment):
            self._controller.queue.add(key)

    def _restarted(self, kind: str, reason: str) -> None:
        self._metrics.watch_restarts.labels(kind, reason).inc()

    def _check(self) -> float:
        return self._elector.check()

    def _status(self, key: Key) -> Mapping[str, Any]:
        """Return the status of a deployment, as the cache has it."""
        return next((found.get("status", {}) for found in self._deployments.of(key)), {})

    def _count(self, verb: str, kind: str, code: int) -> None:
        self._metrics.api_requests.labels(verb, kind, str(code)).inc()


async def _unless(stop: asyncio.Event, work: Awaitable[object]) -> bool:
    """Do the work unless ``stop`` is set first; return whether it was done."""
    await _unless_ended([], stop, work)
    return not stop.is_set()


async def _unless_ended(
    tasks: Iterable[asyncio.Task[None]], stop: asyncio.Event, work: Awaitable[object]
) -> None:
    """Wait for the work, for ``stop``, or for the first task that ends; raise what that task raised."""
    waiting = [asyncio.ensure_future(work), asyncio.create_task(stop.wait())]
    try:
        done, _ = await asyncio.wait([*tasks, *waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    for task in done:
        await task
    ended = done - set(waiting)
    if ended and not stop.is_set():
        raise RuntimeError(f"a part of the operator ended by itself: {ended}")


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
