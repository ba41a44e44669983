"""A whole DisaggDeployment: metadata that planning needs, specification and status.

Metadata of Kubernetes has many more fields; those that the operator does not read are dropped here.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from disagg_operator.api.v1alpha1.base import ApiModel
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.api.v1alpha1.status import DisaggDeploymentStatus


class Metadata(BaseModel):
    """The part of Kubernetes' object metadata that the operator reads."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = "default"
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None


class DisaggDeployment(ApiModel):
    """Disaggregated serving of one model."""

    api_version: Literal["disagg.dev/v1alpha1"] = "disagg.dev/v1alpha1"
    kind: Literal["DisaggDeployment"] = "DisaggDeployment"
    metadata: Metadata
    spec: DisaggDeploymentSpec
    status: DisaggDeploymentStatus = Field(default_factory=DisaggDeploymentStatus)
