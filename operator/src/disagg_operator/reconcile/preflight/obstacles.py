"""The nodes that the pods of a role may go to by their labels, and what else keeps them off each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from disagg_operator.reconcile.preflight.fault import Check
from disagg_operator.reconcile.preflight.needs import RoleNeeds
from disagg_operator.reconcile.preflight.snapshot import Node, Offer, Taint
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node with the labels that pods of a role ask for.

    Attributes:
        node: the node.
        obstacles: what keeps the pods off it, were it empty.
        room: how many of them would fit there.
    """

    node: Node
    obstacles: tuple[Obstacle, ...]
    room: int


Candidates = Mapping[str, Sequence[Candidate]]
"""Candidates of each role."""


def candidates(role: RoleNeeds, nodes: Sequence[Node]) -> list[Candidate]:
    """Return the nodes that the pods of a role may go to by their labels."""
    # Most nodes offer what others do, and share the very object that says so.
    known: dict[int, tuple[tuple[Obstacle, ...], int]] = {}
    found = []
    for node in nodes:
        if role.matches(node):
            offer = node.offer
            if id(offer) not in known:
                blocking = _obstacles(role, offer)
                known[id(offer)] = (blocking, 0 if blocking else role.room_on(offer))
            found.append(Candidate(node, *known[id(offer)]))
    return found


def _obstacles(role: RoleNeeds, offer: Offer) -> tuple[Obstacle, ...]:
    found = []
    if offer.cordoned:
        found.append(CORDONED)
    if not offer.ready:
        found.append(NOT_READY)
    for taint in role.refused_by(offer):
        if taint.key.startswith(_KUBELETS_OWN):
            found += [] if found else [Obstacle(Check.NODES_UNAVAILABLE, f"tainted {taint}")]
        else:
            found.append(Obstacle(Check.TAINTS_NOT_TOLERATED, f"tainted {taint}", taint=taint))
    devices = role.devices()
    for name, wanted in role.requests.items():
        offered = offer.allocatable.get(name, Decimal(0))
        if offered >= wanted:
            continue
        if name in devices and not offered:
            found.append(Obstacle(Check.DEVICE_MISSING, f"no {name}", name))
        else:
            check = Check.DEVICE_COUNT_TOO_HIGH if name in devices else Check.RESOURCES_TOO_LARGE
            text = f"{name} {amount(name, offered)} of {amount(name, wanted)}"
            found.append(Obstacle(check, text, name))
    return tuple(found)
