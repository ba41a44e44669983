"""Deployments are made by a script: how long until all is there, until all serve, and what that took."""

import asyncio
import time
from dataclasses import dataclass

from bench.operator import audit
from bench.operator.client import each
from bench.operator.figures import Figures
from bench.operator.plane import Plane
from bench.operator.process import cpu_seconds, peak
from bench.operator.shapes import Shape
from bench.operator.sides import Side, ready_pods
from bench.operator.targets import (
    AVAILABLE,
    CACHED,
    CONTROL_CPU,
    CPU,
    CREATED,
    PEAK,
    READS,
    READY,
    WRITES,
    of,
)
from bench.operator.watching import all_reached, telling, watching
from testcluster.console import Step

QUIET_SECONDS = 3.0
"""How long nothing may be written until what was begun counts as finished."""

_LIMIT_SECONDS, _LIMIT_SECONDS_PER_POD = 240.0, 0.2


@dataclass(frozen=True)
class Controller:
    """A process that makes the rest of what the script made.

    Attributes:
        pid: its id.
        user: who it is to the API server.
    """

    pid: int
    user: str


async def create(
    plane: Plane,
    side: Side,
    shape: Shape,
    *,
    figures: Figures,
    step: Step,
    controller: Controller | None = None,
) -> None:
    """Make the deployments of a shape and note the figures.

    Args:
        plane: with nothing in it yet.
        side: which is measured.
        shape: what is made.
        figures: where the result goes.
        step: shows how far it is.
        controller: what works on the script's objects; None where nothing does.

    Raises:
        ClusterError: it does not come to its end in time.
    """
    created, available, ready = side.created(shape), side.available(shape), ready_pods(shape)
    limit = _LIMIT_SECONDS + _LIMIT_SECONDS_PER_POD * shape.pods
    before = cpu_seconds(controller.pid) if controller else 0.0
    start_of_log, control_before = plane.audit_size, plane.cpu_seconds
    async with watching(plane.client, [*created, *available, ready]):
        begun = time.monotonic()
        with telling(step, ready, "pods ready"):
            await each(side.objects(shape), plane.client.create)
            all_there = await all_reached(created, limit)
            serving = await all_reached(available, limit)
            pods_ready = await all_reached([ready], limit)
        end_of_log = plane.audit_size
    figures.put(of(shape, CONTROL_CPU), side.name, plane.cpu_seconds - control_before)
    figures.put(of(shape, CREATED), side.name, all_there - begun)
    figures.put(of(shape, READY), side.name, pods_ready - begun)
    figures.put(of(shape, AVAILABLE), side.name, serving - begun)
    if controller is not None:
        await quiet(plane, controller.user)
        figures.put(of(shape, CPU), side.name, cpu_seconds(controller.pid) - before)
        figures.put(of(shape, PEAK), side.name, peak(controller.pid))
        log = plane.control.audit_log
        watched = audit.watched_by(audit.read(log, 0), controller.user)
        until = audit.traffic(audit.read(log, start_of_log, end_of_log), controller.user, watched)
        afterwards = audit.traffic(audit.read(log, end_of_log), controller.user, watched)
        _note(figures, side.name, shape, until, afterwards)
    step.result = f"created {all_there - begun:.1f} s, available {serving - begun:.1f} s"


def _note(figures: Figures, side: str, shape: Shape, until: audit.Traffic, afterwards: audit.Traffic) -> None:
    """Note what was asked of the API server until all was available, and afterwards."""
    number = shape.deployments
    told = f"{audit.listed(until.writes, number)}; afterwards {audit.listed(afterwards.writes, number)}"
    figures.put(of(shape, WRITES), side, until.writes.total() / number, told)
    figures.put(of(shape, READS), side, until.reads.total() / number, audit.listed(until.reads, number))
    figures.put(of(shape, CACHED), side, until.cached.total() / number)


async def quiet(plane: Plane, user: str, seconds: float = QUIET_SECONDS, limit: float = 120.0) -> None:
    """Wait until a user has written nothing for a while, or the limit is over."""
    until = time.monotonic() + limit
    last, since = plane.audit_size, time.monotonic()
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        size = plane.audit_size
        wrote = audit.traffic(audit.read(plane.control.audit_log, last, size), user, frozenset()).writes
        last = size
        if wrote:
            since = time.monotonic()
        elif time.monotonic() - since >= seconds:
            return
