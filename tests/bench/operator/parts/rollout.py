"""All deployments get another image: how long until nothing of the old one is left and all serve."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from bench.operator.client import each, plural_of
from bench.operator.figures import FLOOR, OURS, Figures
from bench.operator.plane import Plane
from bench.operator.shapes import NAMESPACE, NEW_IMAGE, Shape, workloads
from bench.operator.targets import ROLLOUT, of
from bench.operator.watching import Milestone, all_reached, condition, telling, watching
from testcluster.console import Step
from testcluster.errors import ClusterError

Object = Mapping[str, Any]

_LIMIT_SECONDS = 900.0


async def roll_floor(plane: Plane, shape: Shape, figures: Figures, step: Step) -> None:
    """Update what a script made, as the script would: the workers of a deployment, then its frontend.

    That is what pods need, in the order in which they need each other: workers start and are ready for their
    time, then a frontend starts that sends requests to them. All deployments are updated at the same time.

    Args:
        plane: with the workloads of the shape, all ready.
        shape: what is there.
        figures: where the result goes.
        step: shows how far it is.

    Raises:
        ClusterError: it does not come to its end in time.
    """
    sets = Milestone("statefulsets", 2 * shape.deployments, _updated)
    frontends = Milestone("deployments", shape.deployments, _updated)

    async def update(name: str) -> None:
        made = workloads(shape, name)
        for milestone in (sets, frontends):
            mine = [obj for obj in made if plural_of(obj) == milestone.resource]
            for obj in mine:
                await plane.client.patch(
                    milestone.resource, NAMESPACE, obj["metadata"]["name"], _with_new_image(obj)
                )
            for obj in mine:
                await milestone.of(obj["metadata"]["name"]).wait()

    async with watching(plane.client, [sets, frontends]):
        begun = time.monotonic()
        with telling(step, frontends, "deployments updated"):
            async with asyncio.timeout(_LIMIT_SECONDS):
                await each(shape.names(), update, at_once=shape.deployments)
    took = time.monotonic() - begun
    figures.put(of(shape, ROLLOUT), FLOOR, took)
    step.result = f"{took:.1f} s"


async def roll_ours(plane: Plane, shape: Shape, figures: Figures, step: Step) -> None:
    """Update deployments as a user would, and note when the operator says that all is done.

    Args:
        plane: with the deployments of the shape, all Available, and an operator.
        shape: what is there.
        figures: where the result goes.
        step: shows how far it is.

    Raises:
        ClusterError: it does not come to its end in time, or pods of the old image are left.
    """
    complete = _of_new_generation(condition("Progressing", "False"))
    done = Milestone("disaggdeployments", shape.deployments, complete)
    patch = {"spec": {"runtime": {"image": NEW_IMAGE}}}

    async def update(name: str) -> None:
        await plane.client.patch("disaggdeployments", NAMESPACE, name, patch)

    async with watching(plane.client, [done]):
        begun = time.monotonic()
        with telling(step, done, "deployments updated"):
            await each(shape.names(), update)
            took = await all_reached([done], _LIMIT_SECONDS) - begun
    pods = (await plane.client.list("pods", NAMESPACE))["items"]
    old = [pod for pod in pods if NEW_IMAGE not in _images(pod["spec"])]
    if old or len(pods) != shape.pods:
        raise ClusterError(
            f"the rollout left {len(pods)} pods, {len(old)} of the old image, not {shape.pods}"
        )
    figures.put(of(shape, ROLLOUT), OURS, took)
    step.result = f"{took:.1f} s"


def _with_new_image(obj: Object) -> dict[str, Any]:
    containers = obj["spec"]["template"]["spec"]["containers"]
    renewed = [{**each, "image": NEW_IMAGE} for each in containers]
    return {"spec": {"template": {"spec": {"containers": renewed}}}}


def _updated(obj: Object) -> bool:
    """Tell whether a StatefulSet or Deployment has the new image in all pods, ready for their time."""
    if NEW_IMAGE not in _images(obj["spec"]["template"]["spec"]):
        return False
    status, wanted = obj.get("status", {}), obj["spec"]["replicas"]
    if status.get("observedGeneration") != obj["metadata"]["generation"]:
        return False
    return all(status.get(f"{which}eplicas") == wanted for which in ("r", "updatedR", "availableR"))


def _of_new_generation(holds: Callable[[Object], bool]) -> Callable[[Object], bool]:
    return lambda obj: obj["metadata"]["generation"] > 1 and holds(obj)


def _images(pod: Object) -> set[str]:
    return {each["image"] for each in pod["containers"]}
