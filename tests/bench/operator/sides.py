"""The sides of the comparison: what each makes, and when it counts as created and as available."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from bench.operator.client import plural_of
from bench.operator.figures import CHILDREN, FLOOR, OURS
from bench.operator.shapes import Shape, children, resource, workloads
from bench.operator.watching import Milestone, condition, exists
from disagg_operator.plan.names import LABEL_MANAGED_BY, MANAGER

Object = dict[str, Any]


class Side(Protocol):
    """One of those that are compared."""

    @property
    def name(self) -> str:
        """As the table names it."""
        ...

    def objects(self, shape: Shape) -> list[Object]:
        """Return what the script creates, in its order."""
        ...

    def created(self, shape: Shape) -> list[Milestone]:
        """Return what is reached when all objects and pods are there."""
        ...

    def available(self, shape: Shape) -> list[Milestone]:
        """Return what is reached when all deployments serve."""
        ...


class Floor:
    """A script makes the StatefulSets and the frontends' Deployments, and nobody looks after them."""

    name = FLOOR

    def objects(self, shape: Shape) -> list[Object]:
        """See `Side`."""
        return [obj for name in shape.names() for obj in workloads(shape, name)]

    def created(self, shape: Shape) -> list[Milestone]:
        """See `Side`."""
        return [*_all_of(self.objects(shape)), _pods(shape)]

    def available(self, shape: Shape) -> list[Milestone]:
        """See `Side`."""
        return [ready_pods(shape)]


class AllChildren(Floor):
    """A script makes everything that a deployment consists of."""

    name = CHILDREN

    def objects(self, shape: Shape) -> list[Object]:
        """See `Side`."""
        return [obj for name in shape.names() for obj in children(shape, name)]


class Ours:
    """A script makes DisaggDeployments, and the operator the rest."""

    name = OURS

    def objects(self, shape: Shape) -> list[Object]:
        """See `Side`."""
        return [resource(shape, name) for name in shape.names()]

    def created(self, shape: Shape) -> list[Milestone]:
        """See `Side`."""
        return AllChildren().created(shape)

    def available(self, shape: Shape) -> list[Milestone]:
        """See `Side`."""
        return [Milestone("disaggdeployments", shape.deployments, condition("Available"))]


def _all_of(objects: Iterable[Object]) -> list[Milestone]:
    wanted = Counter(plural_of(obj) for obj in objects)
    return [Milestone(resource, wanted[resource], _ours, metadata=True) for resource in sorted(wanted)]


def _ours(obj: Mapping[str, Any]) -> bool:
    """Tell objects of deployments from those that every namespace has."""
    return bool(obj["metadata"].get("labels", {}).get(LABEL_MANAGED_BY) == MANAGER)


def _pods(shape: Shape) -> Milestone:
    return Milestone("pods", shape.pods, exists)


def ready_pods(shape: Shape) -> Milestone:
    """Return what is reached when all pods of a shape are ready."""
    return Milestone("pods", shape.pods, condition("Ready"))
