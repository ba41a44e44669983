"""A whole DisaggDeployment: metadata that planning needs, specification and status.

Metadata of Kubernetes has many more fields; those that the operator does not read are dropped here.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from disagg_operator.api.v1alpha1.base import ApiModel, DnsLabel
from disagg_operator.api.v1alpha1.markers import cel, rules
from disagg_operator.api.v1alpha1.patterns import RESOURCE_NAME, WORDS
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.api.v1alpha1.status import DisaggDeploymentStatus

NAME_LIMIT = 63
"""Longest name: it becomes the value of a label."""


class Metadata(ApiModel):
    """The part of Kubernetes' object metadata that the operator reads."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(pattern=RESOURCE_NAME, max_length=NAME_LIMIT)]
    """Name of the deployment. Its Services begin with it, so it begins with a letter."""
    namespace: DnsLabel = "default"
    """Namespace of the deployment and of all that it consists of."""
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None


class DisaggDeployment(ApiModel):
    """Disaggregated serving of one model: prefill and decode workers behind one frontend."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                f"self.metadata.name.size() <= {NAME_LIMIT} && self.metadata.name.matches('{RESOURCE_NAME}')",
                f"is not allowed here: write {WORDS[RESOURCE_NAME]}, at most {NAME_LIMIT} long",
                ".metadata.name",
            )
        )
    )

    api_version: Literal["disagg.dev/v1alpha1"] = "disagg.dev/v1alpha1"
    kind: Literal["DisaggDeployment"] = "DisaggDeployment"
    metadata: Annotated[Metadata, WithJsonSchema({"type": "object"})]
    """Kubernetes' object metadata."""
    spec: DisaggDeploymentSpec
    """What is served, and how. Only model is required; the rest is derived or has a default."""
    status: DisaggDeploymentStatus = Field(default_factory=DisaggDeploymentStatus)
    """What was observed. Written by the operator only."""
