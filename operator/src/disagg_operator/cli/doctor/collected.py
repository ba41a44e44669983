"""What ``kubectl disagg doctor`` collects of a deployment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from disagg_operator.cli.overview import Instances
from disagg_operator.reconcile.kinds import Object

OPERATORS = "Deployments of the operator"
"""What the operator is read from, as `Collected.unread` calls it."""


class Cause(StrEnum):
    """Why something was not read."""

    FORBIDDEN = "forbidden"
    """The user may not, which says nothing of the deployment."""
    FAILED = "failed"
    """It should have been there."""
    HARMLESS = "harmless"
    """It is gone since, or longer than what is kept."""


@dataclass(frozen=True)
class Unread:
    """Something that was not read, or not all of it.

    Attributes:
        why: a sentence.
        cause: what that means.
    """

    why: str
    cause: Cause


@dataclass(frozen=True)
class Collected:
    """All that could be read, as the cluster told it: secrets are still in it.

    Attributes:
        resource: the DisaggDeployment.
        children: objects that the operator made for it, of any kind but Secret.
        pods: its pods.
        instances: ready and asked instances of its workers by revision and role.
        events: Events about all of these, oldest first.
        agents: answer of the agent (bytes), or why there is none (text), by name of the pod.
        logs: log by path below logs/.
        nodes: nodes that its pods are on.
        operators: Deployments of the operator.
        versions: version of each part, by its name.
        unread: what was not read, by what it is.
    """

    resource: Object
    children: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    instances: Instances = field(default_factory=dict)
    events: list[Object] = field(default_factory=list)
    agents: Mapping[str, bytes | str] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    nodes: list[Object] = field(default_factory=list)
    operators: list[Object] = field(default_factory=list)
    versions: Mapping[str, Any] = field(default_factory=dict)
    unread: Mapping[str, Unread] = field(default_factory=dict)
