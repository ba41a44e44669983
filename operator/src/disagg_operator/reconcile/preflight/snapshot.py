"""What a cluster says of itself, as little of it as the checks read.

Invariants: values, compared by content, so that an update in which nothing of interest changed is no change;
texts that many nodes share are kept once, so that a thousand nodes take a few megabytes.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from disagg_operator.api.quantities import quantity
from disagg_operator.reconcile.computedomain.standing import UID_LABEL
from disagg_operator.reconcile.kinds import Kind, Object

ENFORCE = "pod-security.kubernetes.io/enforce"
"""Label of a namespace with the Pod Security Standard below which it admits no pod."""


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods off a node that do not tolerate it."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{'=' + self.value if self.value else ''}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a node offers to pods, whatever its labels. Nodes that offer the same share one.

    Attributes:
        allocatable: what pods may have of it, as numbers: cores, bytes and devices.
        taints: its taints.
        cordoned: whether nothing is scheduled to it.
        ready: whether its kubelet says so.
    """

    allocatable: Mapping[str, Decimal]
    taints: tuple[Taint, ...]
    cordoned: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its labels and what it offers."""

    name: str
    labels: Mapping[str, str]
    offer: Offer


@dataclass(frozen=True)
class Named:
    """An object that pods name, in their namespace: a ResourceClaim or a template for some."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Found:
    """Whether there is an object that pods name.

    Attributes:
        there: whether there is.
        domain: UID of the ComputeDomain whose channel it is, or nothing.
    """

    there: bool
    domain: str = ""


@dataclass(frozen=True)
class ClusterSnapshot:
    """The cluster around one deployment. None stands for what the operator may not read.

    Attributes:
        nodes: all nodes.
        enforced: Pod Security Standard that the deployment's namespace enforces; empty for none.
        device_classes: names of all DeviceClasses.
        served: whether the API server serves a kind; a kind that was not asked about is missing.
        claims: what was found of claims that pods name; one that may not be read is missing.
    """

    nodes: tuple[Node, ...] | None
    enforced: str | None
    device_classes: frozenset[str] | None
    served: Mapping[Kind, bool]
    claims: Mapping[Named, Found] = field(default_factory=dict)


def node_of(obj: Object) -> Node:
    """Return what is read of a Node object."""
    metadata, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    return Node(
        name=metadata["name"],
        labels={sys.intern(key): sys.intern(value) for key, value in metadata.get("labels", {}).items()},
        offer=_offer(
            tuple(sorted(status.get("allocatable", {}).items())),
            tuple(
                Taint(taint["key"], taint.get("value", ""), taint["effect"])
                for taint in spec.get("taints", [])
            ),
            spec.get("unschedulable", False),
            any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in status.get("conditions", [])
            ),
        ),
    )


@lru_cache(maxsize=4096)
def _offer(
    allocatable: tuple[tuple[str, str], ...], taints: tuple[Taint, ...], cordoned: bool, ready: bool
) -> Offer:
    numbers = {name: number for name, value in allocatable if (number := quantity(value)) is not None}
    return Offer(numbers, taints, cordoned, ready)


def enforced_by(obj: Object) -> str:
    """Return the Pod Security Standard that a Namespace object enforces, or nothing."""
    return sys.intern(obj["metadata"].get("labels", {}).get(ENFORCE, ""))


def claim_of(obj: Object) -> Found:
    """Return what is read of a ResourceClaim or ResourceClaimTemplate."""
    return Found(there=True, domain=obj["metadata"].get("labels", {}).get(UID_LABEL, ""))
