"""What keeps the pods of a role off a single node."""

from dataclasses import dataclass
from decimal import Decimal

from disagg_operator.reconcile.preflight.fault import Check
from disagg_operator.reconcile.preflight.needs import RoleNeeds
from disagg_operator.reconcile.preflight.snapshot import Node, Taint
from disagg_operator.reconcile.preflight.wording import amount

_KUBELETS_OWN = "node.kubernetes.io/"
"""Kubernetes puts taints that begin so on nodes that are cordoned or not well, and takes them off again."""


@dataclass(frozen=True)
class Obstacle:
    """One thing that keeps pods off a node.

    Attributes:
        check: the check that it fails.
        name: the resource, where it is about one.
        taint: the taint, where it is about one.
        text: what the node is, in a few words.
    """

    check: Check
    text: str
    name: str = ""
    taint: Taint | None = None


CORDONED = Obstacle(Check.NODES_UNAVAILABLE, "cordoned")
NOT_READY = Obstacle(Check.NODES_UNAVAILABLE, "not ready")


def obstacles(role: RoleNeeds, node: Node) -> tuple[Obstacle, ...]:
    """Return all that keeps pods off a node that has the right labels, were it empty."""
    found = []
    if node.cordoned:
        found.append(CORDONED)
    if not node.ready:
        found.append(NOT_READY)
    for taint in role.refused_by(node):
        if taint.key.startswith(_KUBELETS_OWN):
            found += [] if found else [Obstacle(Check.NODES_UNAVAILABLE, f"tainted {taint}")]
        else:
            found.append(Obstacle(Check.TAINTS_NOT_TOLERATED, f"tainted {taint}", taint=taint))
    devices = role.devices()
    for name, wanted in role.requests.items():
        offered = node.allocatable.get(name, Decimal(0))
        if offered >= wanted:
            continue
        if name in devices and not offered:
            found.append(Obstacle(Check.DEVICE_MISSING, f"no {name}", name))
        else:
            check = Check.DEVICE_COUNT_TOO_HIGH if name in devices else Check.RESOURCES_TOO_LARGE
            text = f"{name} {amount(name, offered)} of {amount(name, wanted)}"
            found.append(Obstacle(check, text, name))
    return tuple(found)
