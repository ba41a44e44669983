"""Who may reach the pods of a deployment."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from disagg_operator.api.v1alpha1.base import ApiModel, OpaqueObject


class NetworkPolicyMode(StrEnum):
    """Whether the operator makes a NetworkPolicy for the pods of a deployment."""

    RESTRICT = "Restrict"
    NONE = "None"


Peers = Annotated[list[OpaqueObject], Field(max_length=32)]


class NetworkSpec(ApiModel):
    """Who may reach the pods. What is let in besides is your own NetworkPolicy's to say: policies add up."""

    policy: NetworkPolicyMode | None = None
    """Restrict: the pods are reached by each other, by the operator, and on the frontend's port by clients.
    None: by all. Default: Restrict, or None with pods in the host network, which no policy covers."""
    clients: Peers = Field(default_factory=list)
    """Who may send requests to the frontend, as peers of a NetworkPolicy: podSelector, namespaceSelector,
    ipBlock. Default: everybody."""
    metrics_from: Peers = Field(default_factory=list)
    """Who may read metrics, as such peers, besides those whom the operator's chart names. Default: nobody."""
