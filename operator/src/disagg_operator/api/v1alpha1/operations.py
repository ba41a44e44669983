"""How a deployment is verified, secured, rolled out and scaled."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from disagg_operator.api.v1alpha1.base import ApiModel, ObjectName, Share
from disagg_operator.api.v1alpha1.markers import cel, list_set, rules, whole


class VerificationMode(StrEnum):
    """What is done with the measured transport."""

    OFF = "Off"
    WARN = "Warn"
    ENFORCE = "Enforce"


class VerificationSpec(ApiModel):
    """Proof, at run time, that KV cache moves over the fabric that the platform promises."""

    mode: VerificationMode = VerificationMode.WARN
    """Off: not measured. Warn: condition, metric and Event. Enforce: besides, no revision serves requests
    before it was verified."""
    interval_seconds: Annotated[int, Field(ge=60, le=86400, json_schema_extra=whole())] | None = None
    """Seconds between measurements. Default: once for each revision, and on demand."""
    minimum_gbps: Annotated[float, Field(gt=0, le=10000)] | None = Field(None, alias="minimumGBps")
    """Least rate at which the canary's KV cache has to move, in 10^9 bytes a second. Where its prompt is too
    short to tell, nothing is verified, and the message says how many tokens it takes. Default: any."""
    canary: bool | None = None
    """Whether a request of the operator's own makes KV cache move. Default: true."""
    prompt_tokens: Annotated[int, Field(ge=16, le=131072, json_schema_extra=whole())] | None = None
    """Length of the canary's prompt in tokens. Default: 512, less where the model takes less."""
    kv_bytes_per_token: Annotated[int, Field(ge=1, le=1 << 30, json_schema_extra=whole())] | None = None
    """Bytes of KV cache of a token, all layers together. Default: from the model's config.json."""


class SecurityMode(StrEnum):
    """How much privilege the workers get."""

    PLATFORM = "Platform"
    RESTRICTED = "Restricted"
    IPC_LOCK = "IpcLock"
    PRIVILEGED = "Privileged"


class SecuritySpec(ApiModel):
    """Security context of the workers, and rules that this deployment overrides."""

    mode: SecurityMode = SecurityMode.PLATFORM
    """Platform: what the platform's fabric needs, and no more. Restricted: the restricted Pod Security
    Standard, and a podTemplate may not ask for more. IpcLock: may pin memory. Privileged: everything."""
    allow_unsafe: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(max_length=32, json_schema_extra=list_set())
    ] = Field(default_factory=list)
    """Ids of admission rules that this deployment overrides on purpose. A refusal names the id of a rule
    that can be overridden."""


class RolloutStrategy(StrEnum):
    """How a new revision takes over from the old one."""

    SURGE = "Surge"
    RECREATE = "Recreate"


class RoleRollout(ApiModel):
    """How far a rollout may go at once in one role."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!(has(self.maxSurge) && has(self.maxUnavailable) && "
                "string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
                "nothing can change with 0 in both: write 1 in one",
                ".maxUnavailable",
            )
        )
    )

    max_surge: Share | None = None
    """Instances beyond replicas; a percentage is rounded up. 0 needs no room. Default: 25%."""
    max_unavailable: Share | None = None
    """Instances short of replicas; a percentage is rounded down. Default: 0, or 1 without a surge."""


class RolloutSpec(ApiModel):
    """How a change that restarts pods is rolled out. Prefill and decode always change together."""

    strategy: RolloutStrategy | None = None
    """Surge: the new revision is started beside the old one and takes over in steps. Recreate: the old one is
    removed first. Default: Surge, or Recreate with a release of the frontend that cannot keep two revisions
    apart."""
    prefill: RoleRollout | None = None
    """Steps of prefill."""
    decode: RoleRollout | None = None
    """Steps of decode."""
    paused: bool = False
    """Whether a rollout stays where it is."""
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86400, json_schema_extra=whole())] = 3600
    """Seconds without a further instance ready, after which the old revision is restored."""


class DrainSpec(ApiModel):
    """What pods that are asked to end owe to their requests, and how many may be asked at a time."""

    request_seconds: Annotated[int, Field(ge=1, le=7200, json_schema_extra=whole())] = 300
    """Longest time of one request, in seconds. A pod that is asked to end finishes its requests, for no
    longer than this; one without requests ends at once."""
    disruption_budgets: bool = True
    """Whether PodDisruptionBudgets are made for the roles and the frontend. A pod may have one alone: turn
    ours off to have yours."""
    max_unavailable: Annotated[int, Field(ge=0, le=1000, json_schema_extra=whole())] = 1
    """Model instances of each role, and frontends, that may be evicted at a time, as when nodes are drained.
    0: none, so that a drain waits until you scale or delete."""


class RoleScaling(ApiModel):
    """Bounds of one role's replica count, which DisaggScaler NAME-ROLE holds."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.minReplicas <= self.maxReplicas",
                "minReplicas must not be above maxReplicas: lower the one or raise the other",
                ".minReplicas",
            )
        )
    )

    min_replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra=whole())] = 1
    """Lowest number of model instances; 0 lets the role be scaled to nothing."""
    max_replicas: Annotated[int, Field(ge=1, le=1000, json_schema_extra=whole())]
    """Highest number of model instances."""


class ScalingSpec(ApiModel):
    """Scaling of the roles by kubectl scale, HPA or KEDA, each through a DisaggScaler."""

    prefill: RoleScaling | None = None
    """Bounds for prefill. Default: not scaled."""
    decode: RoleScaling | None = None
    """Bounds for decode. Default: not scaled."""


class ComputeDomainSpec(ApiModel):
    """NVIDIA ComputeDomain: NVLink between the nodes of all workers, prefill and decode alike."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.name) || !has(self.numNodes)",
                "numNodes is the existing ComputeDomain's own: leave out numNodes or name",
                ".numNodes",
                "FieldValueForbidden",
            ),
            cel(
                "!has(self.enabled) || self.enabled || !(has(self.name) || has(self.numNodes))",
                "enabled is false: leave out name and numNodes, or write enabled: true",
                ".enabled",
            ),
        )
    )

    enabled: bool | None = None
    """Whether workers hold channels of a ComputeDomain. Default: as the platform's fabric needs."""
    name: ObjectName | None = None
    """Existing ComputeDomain to use, in the namespace of the deployment; it is never changed or deleted, and
    names the claim template. Default: one is made, and deleted after the last worker."""
    num_nodes: (
        Annotated[
            int,
            Field(
                ge=0,
                le=10000,
                json_schema_extra={
                    **whole(),
                    **rules(
                        cel(
                            "self == oldSelf",
                            "cannot change, as a ComputeDomain cannot: delete and remake the deployment",
                        )
                    ),
                },
            ),
        ]
        | None
    ) = None
    """Number of nodes that the ComputeDomain is told to have; it cannot change. Default: 0, which lets it
    follow the pods; where the installed driver asks for a number, the nodes of all workers."""
