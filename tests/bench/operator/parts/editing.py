"""A user edits deployments of which nothing else happens: how long until the child has the change."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from typing import Any

from bench.operator.figures import OURS, Figures
from bench.operator.plane import Plane
from bench.operator.shapes import NAMESPACE, Shape
from bench.operator.stats import percentile
from bench.operator.targets import EDIT_P50, EDIT_P99
from testcluster.console import Step
from testcluster.errors import ClusterError

EDITS = 200
_SEED = 8
_LIMIT_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
"""Between two edits, so that each finds an operator that is idle or sees to the pods of the last one."""
_MILLISECONDS = 1000.0


async def edit(plane: Plane, shape: Shape, figures: Figures, step: Step, edits: int = EDITS) -> None:
    """Scale decode up by one, one deployment after the other, and note how long its StatefulSet took.

    Args:
        plane: with the deployments of the shape, all Available, and an operator.
        shape: what is there.
        figures: where the result goes.
        step: shows how far it is.
        edits: how many; no deployment is edited twice.

    Raises:
        ClusterError: a StatefulSet was not changed within half a minute.
    """
    names = random.Random(_SEED).sample(shape.names(), min(edits, shape.deployments))  # noqa: S311 - no secret
    listed = await plane.client.list("statefulsets", NAMESPACE)
    events = plane.client.watch("statefulsets", NAMESPACE, listed["metadata"]["resourceVersion"])
    took = []
    try:
        for number, name in enumerate(names, start=1):
            took.append(await _edit(plane, name, shape.decode + 1, events) * _MILLISECONDS)
            step.detail = f"edit {number} of {len(names)}"
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await events.aclose()
    figures.put(EDIT_P50, OURS, percentile(took, 0.5))
    figures.put(EDIT_P99, OURS, percentile(took, 0.99), f"{len(took)} edits, the slowest {max(took):.0f} ms")
    step.result = f"p50 {percentile(took, 0.5):.0f} ms, p99 {percentile(took, 0.99):.0f} ms"


async def _edit(plane: Plane, name: str, replicas: int, events: AsyncGenerator[dict[str, Any]]) -> float:
    """Edit a deployment and return the seconds until the change was in its StatefulSet."""
    begun = time.monotonic()
    asked = asyncio.create_task(
        plane.client.patch("disaggdeployments", NAMESPACE, name, {"spec": {"decode": {"replicas": replicas}}})
    )
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            async for event in events:
                obj = event["object"]
                if _role(obj) == (name, "decode") and obj["spec"]["replicas"] == replicas:
                    return time.monotonic() - begun
    except TimeoutError:
        raise ClusterError(f"the edit of {name} did not reach its StatefulSet in time") from None
    finally:
        await asked
    raise ClusterError("the watch of StatefulSets ended")


def _role(obj: dict[str, Any]) -> tuple[str, str]:
    labels = obj["metadata"].get("labels", {})
    return labels.get("disagg.dev/deployment", ""), labels.get("disagg.dev/role", "")
