"""DisaggScaler: the replica count of one role, by the scale subresource that kubectl, HPA and KEDA speak to.

The operator makes one for each role in ``spec.scaling``, by the name ``<deployment>-<role>``, and deletes it
with that. Only ``spec.replicas`` is others' to write.
"""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from disagg_operator.api.v1alpha1.base import ApiModel
from disagg_operator.api.v1alpha1.markers import list_map, whole
from disagg_operator.api.v1alpha1.resource import Metadata
from disagg_operator.api.v1alpha1.status import Condition, Count


class DisaggScalerSpec(ApiModel):
    """What is asked for."""

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra=whole())]
    """Number of model instances. The bounds in spec.scaling of the deployment hold it."""


class DisaggScalerStatus(ApiModel):
    """What the operator observed."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra=whole(64))] | None = None
    """Generation of the scaler that this status is about."""
    replicas: Count = 0
    """Model instances that exist."""
    ready_replicas: Count = 0
    """Those that are ready."""
    desired_replicas: Count = 0
    """The count in force: the one asked for, unless bounds or the hardware forbid it."""
    selector: Annotated[str, Field(max_length=1024)] = ""
    """Label selector of one pod for each model instance: of instances on several nodes, the leader."""
    bounds: Annotated[str, Field(max_length=16)] = ""
    """Lowest and highest count, such as ``1-4``."""
    conditions: Annotated[list[Condition], Field(max_length=8, json_schema_extra=list_map("type"))] = Field(
        default_factory=list
    )
    """ScalingActive: the count is followed. ScalingLimited: another count than the one asked for is in force.
    Ready: as many instances as are in force are ready, and no more."""


class DisaggScaler(ApiModel):
    """The replica count of one role of a DisaggDeployment: what kubectl scale, HPA and KEDA change."""

    api_version: Literal["disagg.dev/v1alpha1"] = "disagg.dev/v1alpha1"
    kind: Literal["DisaggScaler"] = "DisaggScaler"
    metadata: Annotated[Metadata, WithJsonSchema({"type": "object"})]
    """Kubernetes' object metadata."""
    spec: DisaggScalerSpec
    """What is asked for. Once the scaler is there, this counts, and replicas of the deployment's role not."""
    status: DisaggScalerStatus = Field(default_factory=DisaggScalerStatus)
    """What was observed. Written by the operator only."""
