"""Who may reach the pods of a deployment, as far as a NetworkPolicy can say it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.plan.model.settings import Provenance


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who may open connections to which ports.

    Attributes:
        peers: as a NetworkPolicy has them; none for everybody.
        ports: numbers of TCP ports; none for all ports of all protocols.
    """

    peers: tuple[Mapping[str, Any], ...]
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FencePlan:
    """A NetworkPolicy: pods that are reached through its entrances alone.

    Attributes:
        name: its name.
        component: what it is of: frontend, or network for all pods and for all others.
        selector: label selector of the pods.
        entrances: who may reach them.
    """

    name: str
    component: str
    selector: Mapping[str, Any]
    entrances: tuple[Entrance, ...]


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Who may reach the pods.

    Attributes:
        policy: Restrict or None.
        fences: the NetworkPolicies.
    """

    policy: str
    fences: tuple[FencePlan, ...]
    provenance: Provenance
