"""The status of a DisaggDeployment: what the user reads. Written by the operator only."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from disagg_operator.api.v1alpha1.base import ApiModel
from disagg_operator.api.v1alpha1.markers import list_map, whole
from disagg_operator.api.v1alpha1.patterns import REASON

Count = Annotated[int, Field(ge=0, json_schema_extra=whole())]
Amount = Annotated[int, Field(ge=0, json_schema_extra=whole(64))]


class ConditionType(StrEnum):
    """Types of conditions on a DisaggDeployment."""

    ACCEPTED = "Accepted"
    PLATFORM_READY = "PlatformReady"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    TRANSPORT_VERIFIED = "TransportVerified"
    COMPUTE_DOMAIN_READY = "ComputeDomainReady"
    MODEL_READY = "ModelReady"
    UP_TO_DATE = "UpToDate"


class Condition(ApiModel):
    """A condition in the standard shape of Kubernetes."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: Annotated[str, Field(pattern=REASON, max_length=1024)]
    """Stable word for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Sentence for people, with what to do next."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra=whole(64))] | None = None
    """Generation of the specification that the condition speaks of."""
    last_transition_time: datetime
    """When the status of the condition last changed."""


class RoleStatus(ApiModel):
    """Replica counts of one role, in the words that a scale subresource needs."""

    replicas: Count = 0
    """Model instances that exist (pods, for the frontend)."""
    ready_replicas: Count = 0
    """Those that are ready."""
    updated_replicas: Count = 0
    """Those of the current revision."""
    desired_replicas: Count = 0
    """Those asked for."""
    ready: Annotated[str, Field(max_length=32)] = ""
    """Ready of desired, such as ``2/4``."""
    selector: Annotated[str, Field(max_length=1024)] = ""
    """Label selector of the role's pods."""
    transport: Annotated[str, Field(max_length=64)] | None = None
    """What its KV cache was seen to move over."""
    preflight: Annotated[str, Field(max_length=256)] | None = None
    """What checks of its pods found."""
    wedged: Annotated[str, Field(max_length=512)] | None = None
    """Worker that last ended because its engine said that it could no longer move KV cache."""
    scaler: Annotated[str, Field(max_length=253)] | None = None
    """DisaggScaler that says how many, where there is one."""


class RolesStatus(ApiModel):
    """Replica counts by role."""

    prefill: RoleStatus = Field(default_factory=RoleStatus)
    """Prefill workers."""
    decode: RoleStatus = Field(default_factory=RoleStatus)
    """Decode workers."""
    frontend: RoleStatus = Field(default_factory=RoleStatus)
    """Frontend pods."""


class TransportStatus(ApiModel):
    """How KV cache moves."""

    configured: Annotated[str, Field(max_length=64)] = ""
    """What was configured, such as ``NIXL/UCX``."""
    summary: Annotated[str, Field(max_length=64)] = ""
    """What was observed or, before that, what was configured."""
    observed: Annotated[str, Field(max_length=64)] | None = None
    """What was measured, such as ``NIXL/UCX srd``."""
    verified: Literal["True", "False", "Unknown"] | None = None
    """Whether that is what the platform promises. Unknown is no failure."""
    reason: Annotated[str, Field(pattern=REASON, max_length=64)] | None = None
    """Stable word for programs."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Sentence for people."""
    bytes: Amount | None = None
    """KV cache that the canary moved."""
    expected_bytes: Amount | None = None
    """KV cache that it had to move."""
    gbps: Annotated[float, Field(ge=0)] | None = None
    """Rate at which it moved, in 10^9 bytes a second."""
    devices_used: Count | None = None
    """Devices of the fabric that carried it."""
    devices_given: Count | None = None
    """Devices of the fabric that the workers have."""
    confidence: Literal["High", "Medium", "Low"] | None = None
    """How sure that is."""
    evidence: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=8)] | None = None
    """What it was concluded from."""
    revision: Annotated[str, Field(max_length=63)] | None = None
    """Revision that was measured last."""
    verified_revision: Annotated[str, Field(max_length=63)] | None = None
    """Revision that was verified last, as Enforce asks for."""
    request: Annotated[str, Field(max_length=256)] | None = None
    """Annotation ``disagg.dev/verify`` that was answered last."""
    time: datetime | None = None
    """When it was measured."""
    step: Annotated[str, Field(max_length=256)] | None = None
    """What the measurement does now."""


class RolloutStatus(ApiModel):
    """What is remembered of a rollout: all else is seen in the cluster."""

    revision: Annotated[str, Field(max_length=63)]
    """Revision that was to take over."""
    retry: Annotated[str, Field(max_length=256)] = ""
    """Annotation ``disagg.dev/rollout-retry`` of this try."""
    started_time: datetime | None = None
    """When it was first seen to run, or to go on."""
    ready: Count = 0
    """Most instances of it that were ready."""
    remaining: Count = 0
    """Fewest instances of old revisions that were left."""
    progress_time: datetime | None = None
    """When one of both last improved."""
    failed_reason: Annotated[str, Field(pattern=REASON, max_length=64)] | None = None
    """ProgressDeadlineExceeded or VerificationFailed."""
    failed_message: Annotated[str, Field(max_length=1024)] | None = None
    """Why, as a sentence."""
    failed_time: datetime | None = None
    """When it failed."""


class DomainNode(ApiModel):
    """A node of the ComputeDomain."""

    name: Annotated[str, Field(max_length=253)]
    """Name of the node."""
    clique: Annotated[str, Field(max_length=253)] = ""
    """What NVLink reaches from it, as ``<cluster UUID>.<clique>``; empty without NVLink to other nodes."""
    ready: bool
    """Whether NVIDIA's driver calls it ready."""


class ComputeDomainStatus(ApiModel):
    """The ComputeDomain, as NVIDIA's driver reports it."""

    name: Annotated[str, Field(max_length=253)]
    """Name of the ComputeDomain."""
    clique: Annotated[str, Field(max_length=253)] = ""
    """The NVLink clique of all its nodes, or how many cliques they are in."""
    nodes: Annotated[list[DomainNode], Field(max_length=64, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    """Its nodes, at most 64."""


class DisaggDeploymentStatus(ApiModel):
    """What the operator observed."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra=whole(64))] | None = None
    """Generation of the specification that this status is about."""
    address: Annotated[str, Field(max_length=1024)] = ""
    """URL to send OpenAI requests to, from inside the cluster."""
    revision: Annotated[str, Field(max_length=63)] = ""
    """Revision of the workers that serve requests."""
    update_revision: Annotated[str, Field(max_length=63)] = ""
    """Revision that the specification asks for. It differs from revision while a rollout runs."""
    roles: RolesStatus = Field(default_factory=RolesStatus)
    """Replica counts by role."""
    transport: TransportStatus = Field(default_factory=TransportStatus)
    """How KV cache moves."""
    rollout: RolloutStatus | None = None
    """The rollout that runs, or failed."""
    compute_domain: ComputeDomainStatus | None = None
    """NVLink between the nodes of the workers, on platforms that have it."""
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))] = Field(
        default_factory=list
    )
    """Accepted: the specification makes sense. PlatformReady: the cluster can run it. Available: requests are
    served. Progressing: work is under way. TransportVerified: KV cache moves as promised.
    ComputeDomainReady: NVLink spans all nodes of the workers. ModelReady: the model's files were fetched.
    UpToDate, where False: pods that another version of the operator planned are kept."""
