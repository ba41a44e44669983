"""Deployments of which nothing changes: what the operator takes for them, and what it does when it starts."""

import asyncio
import time

from bench.operator import audit
from bench.operator.figures import OURS, Figures
from bench.operator.plane import Plane
from bench.operator.process import cpu_seconds, memory
from bench.operator.shapes import Shape
from bench.operator.subject import USER, Subject
from bench.operator.targets import START, START_WRITES, STEADY_CPU, STEADY_READS, STEADY_WRITES, of
from testcluster.console import Step
from testcluster.errors import ClusterError

_CHECKED = "disagg_deployments_checked"
_TELL_SECONDS = 5.0
_START_LIMIT_SECONDS = 600.0
_LOOK_SECONDS = 0.1


def weigh(subject: Subject, name: str, figures: Figures) -> None:
    """Note what memory the operator holds now."""
    resident, shared = memory(subject.pid)
    figures.put(name, OURS, resident, f"PSS {shared:.0f} MB")


async def steady(plane: Plane, subject: Subject, seconds: float, figures: Figures, step: Step) -> None:
    """Let the operator be for a while, and note what it asked of the API server and of the processor.

    Args:
        plane: with deployments to which nothing happens.
        subject: the operator.
        seconds: how long.
        figures: where the result goes.
        step: shows how far it is.
    """
    start, before, begun = plane.audit_size, cpu_seconds(subject.pid), time.monotonic()
    while (left := begun + seconds - time.monotonic()) > 0:
        step.detail = f"{left:.0f} s left"
        await asyncio.sleep(min(left, _TELL_SECONDS))
    share = (cpu_seconds(subject.pid) - before) / (time.monotonic() - begun)
    did = _traffic(plane, start)
    told = f"in {seconds:.0f} s; {audit.listed(did.leases, 1)}"
    figures.put(STEADY_WRITES, OURS, did.writes.total(), f"{audit.listed(did.writes, 1)} {told}")
    figures.put(STEADY_READS, OURS, did.reads.total(), audit.listed(did.reads, 1))
    figures.put(STEADY_CPU, OURS, 100 * share)
    step.result = f"{did.writes.total()} writes, {100 * share:.1f} % of a core"


async def checked(
    plane: Plane, subject: Subject, shape: Shape, *, start_of_log: int, figures: Figures, step: Step
) -> None:
    """Wait until an operator that was just started has checked all deployments, and note how long it took.

    Args:
        plane: with the deployments of the shape.
        subject: the operator.
        shape: what is there.
        start_of_log: size of the audit log when the operator was started.
        figures: where the result goes.
        step: shows how far it is.

    Raises:
        ClusterError: they were not checked in time.
    """
    until = time.monotonic() + _START_LIMIT_SECONDS
    while (found := subject.metric(_CHECKED) or 0.0) < shape.deployments:
        if time.monotonic() > until:
            raise ClusterError(f"only {found:.0f} of {shape.deployments} deployments were checked")
        step.detail = f"{found:.0f} of {shape.deployments} checked"
        await asyncio.sleep(_LOOK_SECONDS)
    took = time.monotonic() - subject.started
    did = _traffic(plane, start_of_log)
    figures.put(of(shape, START), OURS, took)
    figures.put(
        of(shape, START_WRITES),
        OURS,
        did.writes.total(),
        f"{audit.listed(did.writes, 1)}; {audit.listed(did.reads, 1)}",
    )
    step.result = f"{took:.1f} s, {did.writes.total()} writes"


def _traffic(plane: Plane, start: int) -> audit.Traffic:
    log = plane.control.audit_log
    return audit.traffic(audit.read(log, start), USER, audit.watched_by(audit.read(log, 0), USER))
