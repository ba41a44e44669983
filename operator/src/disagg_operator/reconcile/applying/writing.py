"""Writes what has to be written: in turns, each object with what its kind needs.

Invariants: objects of one turn refer to none of the same turn, and are written at the same time; everything
is applied before anything is deleted; what the API server stores otherwise is noted on the object; a repair
of what somebody else changed or deleted is told, and two of one object may be far apart.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from disagg_operator.build.gang import without_constraints
from disagg_operator.plan import names
from disagg_operator.reconcile.applying.changes import Changes
from disagg_operator.reconcile.applying.diff import identity
from disagg_operator.reconcile.applying.offers import Offers
from disagg_operator.reconcile.applying.once import is_made_once, made_for, owner_of
from disagg_operator.reconcile.applying.repairs import Repairs, damage, repaired
from disagg_operator.reconcile.applying.unstored import note
from disagg_operator.reconcile.cluster import Children, Cluster, Recorder
from disagg_operator.reconcile.errors import ClusterError, attempt, classify
from disagg_operator.reconcile.kinds import (
    DEPLOYMENT,
    DISAGG_SCALER,
    GANGS,
    JOB,
    SECRET,
    STATEFUL_SET,
    Key,
    Object,
    describe,
    kind_of,
)
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.scaling.scalers import ScalerKeeper

_UNPROCESSABLE = 422
_AT_ONCE = 8
"""Writes of one deployment at the same time: more of them only wait for each other in the API server."""
_MAKES_PODS = {STATEFUL_SET, DEPLOYMENT, JOB}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Writer:
    """Writes the objects of deployments.

    Attributes:
        cluster: where objects are written.
        children: caches of what was written.
        recorder: where Events go.
        scalers: what makes DisaggScalers.
        repairs: when what was put right.
        offers: when which key was offered.
    """

    cluster: Cluster
    children: Children
    recorder: Recorder
    scalers: ScalerKeeper
    repairs: Repairs = field(default_factory=Repairs)
    offers: Offers = field(default_factory=Offers)

    async def write(self, resource: Object, todo: Changes, observed: Observed, now: datetime) -> None:
        """Write what differs and delete what is left over.

        Args:
            resource: the DisaggDeployment.
            todo: what is to be written.
            observed: what is there.
            now: the time.
        """
        lost = self.children.lost(_key(resource))
        there = dict(observed.objects)

        async def apply(obj: Object) -> None:
            if is_made_once(obj):
                owner = owner_of(obj, there)
                if kind_of(obj) != SECRET:
                    await self._make_once(resource, obj, owner)
                elif self.offers.is_due(_key(resource), obj, owner, now):
                    await self._make_once(resource, obj, owner)
                    self.offers.note(_key(resource), obj, owner, now)
                return
            done = damage(obj, there.get(identity(obj)), lost)
            if done and not self.repairs.may_repair(_key(resource), obj, now):
                return
            if obj["kind"] == DISAGG_SCALER.kind and "spec" in obj:
                await self.scalers.make(obj)
            else:
                new = identity(obj) not in observed.objects
                there[identity(obj)] = await self._apply(resource, obj, new=new)
            if done:
                again = self.repairs.note(_key(resource), obj, now)
                self.recorder.record(resource, "Warning", "Repaired", repaired(done, again=again))

        for turn in turns(todo.apply):
            await _at_once(apply, turn)
        for scaling in todo.scale:
            doing = f"scale {describe(scaling.obj)} to {scaling.replicas}"
            # What it has then is not what was applied last, and nobody's doing but ours.
            annotations = {**scaling.annotations, names.ANNOTATION_APPLIED_HASH: ""}
            await attempt(self.cluster.scale(scaling.obj, scaling.replicas, annotations), doing)
            logger.info("%s", doing, extra=log_context(resource))
        for obj in todo.delete:
            await attempt(self.cluster.delete(obj), f"delete {describe(obj)}")
            logger.info("deleted %s", describe(obj), extra=log_context(resource))

    async def _apply(self, resource: Object, obj: Object, *, new: bool) -> Object:
        stored = await attempt(self.cluster.apply(obj, new=new), f"apply {describe(obj)}")
        logger.info("applied %s", describe(obj), extra=log_context(resource))
        annotations = note(obj, stored)
        if annotations is not None:
            # Kubernetes' own controllers may have written it since; that does not matter here.
            metadata = {key: stored["metadata"][key] for key in ("name", "namespace", "uid")}
            await attempt(
                self.cluster.annotate({**stored, "metadata": metadata}, annotations),
                f"annotate {describe(obj)}",
            )
            logger.warning(
                "%s is stored otherwise than it was applied", describe(obj), extra=log_context(resource)
            )
        return stored

    async def _make_once(self, resource: Object, obj: Object, owner: Object | None) -> None:
        """Make an object unless there is one. It is never read back."""
        whole = made_for(obj, owner)
        try:
            made = await self.cluster.create_once(whole)
        except ClusterError as error:
            plain = without_constraints(whole)
            if plain is None or error.code != _UNPROCESSABLE:
                raise classify(error, f"create {describe(obj)}") from error
            logger.warning("without constraints: %s", error, extra=log_context(resource))
            made = await attempt(self.cluster.create_once(plain), f"create {describe(obj)}")
        if made:
            logger.info("created %s", describe(obj), extra=log_context(resource))


def turns(objects: Iterable[Object]) -> list[list[Object]]:
    """Return the objects in turns, those that others refer to first.

    Pods need what is beside them (ServiceAccounts, ConfigMaps, Secrets) when they are made; a Secret goes
    with a ConfigMap, and what schedules a pod group with the group's StatefulSet.
    """
    found: list[list[Object]] = [[], [], [], []]
    for obj in objects:
        kind = kind_of(obj)
        # Nothing waits for a scaler, which may be a kind that is not served.
        if kind in (*GANGS, DISAGG_SCALER):
            turn = 3
        elif kind in _MAKES_PODS:
            turn = 2
        else:
            turn = 1 if kind == SECRET else 0
        found[turn].append(obj)
    return [turn for turn in found if turn]


async def _at_once(write: Callable[[Object], Awaitable[None]], objects: Iterable[Object]) -> None:
    """Write objects at the same time, a few of them. After an error none is begun any more; it is raised."""
    places, failed = asyncio.Semaphore(_AT_ONCE), False

    async def placed(obj: Object) -> None:
        nonlocal failed
        async with places:
            if failed:
                return
            try:
                await write(obj)
            except BaseException:
                failed = True
                raise

    results = await asyncio.gather(*map(placed, objects), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _key(resource: Object) -> Key:
    return Key(resource["metadata"]["namespace"], resource["metadata"]["name"])


def log_context(resource: Object) -> dict[str, str]:
    """Return what each line of the log about a deployment carries."""
    return {"deployment": str(_key(resource))}
