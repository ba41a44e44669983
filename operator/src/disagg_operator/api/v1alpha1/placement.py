"""Where the pods of a deployment run, and whether those of one model instance are scheduled all or none."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from disagg_operator.api.v1alpha1.base import ApiModel, OpaqueObject, Sparse
from disagg_operator.api.v1alpha1.patterns import LABEL_VALUE, OBJECT_NAME, QUALIFIED_NAME

TopologyKey = Annotated[str, Field(pattern=QUALIFIED_NAME, max_length=317)]


class GangScheduler(StrEnum):
    """What schedules the pods of a model instance on several nodes all at once, or none of them."""

    AUTO = "Auto"
    NONE = "None"
    NATIVE = "Native"
    KUEUE = "Kueue"
    KAI = "KAI"
    COSCHEDULING = "Coscheduling"


class GangSpec(ApiModel):
    """Scheduling of all pods of a model instance, or none. It is for instances on several nodes."""

    scheduler: GangScheduler = GangScheduler.AUTO
    """Native: Kubernetes' own. Auto: Native, or with a queue Kueue or KAI, if the cluster has it."""
    queue: Annotated[str, Field(pattern=OBJECT_NAME, max_length=63)] | None = None
    """Queue of Kueue or KAI. Default: with KAI default-queue."""
    scheduler_name: Annotated[str, Field(pattern=OBJECT_NAME, max_length=63)] | None = None
    """Scheduler of the pods. Default: as KAI or coscheduling installs it."""


class GroupPlacementSpec(ApiModel):
    """Where the pods of one model instance on several nodes run, relative to each other."""

    topology_key: TopologyKey
    """Node label whose value the pods of an instance share."""
    required: bool = True
    """Whether an instance may never be split over two values."""


class PlacementSpec(ApiModel):
    """Where pods may run."""

    topology_key: TopologyKey | None = None
    """Node label whose value all workers share, such as a zone, placement group or clique. Default: from
    the platform."""
    required: bool = True
    """Whether workers may never be split over two values of topologyKey."""
    group: GroupPlacementSpec | None = None
    """What the pods of one instance share besides. Default: from the platform."""
    gang: GangSpec | None = None
    """Scheduling of all pods of an instance, or none. Default: Auto."""
    node_selector: Annotated[
        dict[str, Annotated[str, Field(pattern=LABEL_VALUE, max_length=63)]], Field(max_length=64), Sparse
    ] = Field(default_factory=dict)
    """Labels that nodes must have, for prefill, decode and frontend alike."""
    tolerations: Annotated[list[OpaqueObject], Field(max_length=64)] = Field(default_factory=list)
    """Tolerations of all pods, as in a pod: key, operator, value, effect, tolerationSeconds (in
    seconds)."""
