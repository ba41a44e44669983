"""The specification of a DisaggDeployment: what the user writes."""

from typing import Annotated

from pydantic import ConfigDict, Field

from disagg_operator.api.v1alpha1.base import ApiModel, EnvVar, ObjectName, OpaqueObject
from disagg_operator.api.v1alpha1.discovery import DiscoverySpec
from disagg_operator.api.v1alpha1.markers import cel, list_map, rules
from disagg_operator.api.v1alpha1.model import ModelSpec
from disagg_operator.api.v1alpha1.network import NetworkSpec
from disagg_operator.api.v1alpha1.operations import (
    ComputeDomainSpec,
    DrainSpec,
    RolloutSpec,
    ScalingSpec,
    SecuritySpec,
    VerificationSpec,
)
from disagg_operator.api.v1alpha1.patterns import OBJECT_NAME
from disagg_operator.api.v1alpha1.placement import PlacementSpec
from disagg_operator.api.v1alpha1.role import RoleSpec, TransferSpec
from disagg_operator.api.v1alpha1.routing import LocalPrefillSpec
from disagg_operator.api.v1alpha1.runtime import FrontendSpec, RuntimeSpec

PlatformName = Annotated[str, Field(pattern=OBJECT_NAME, max_length=63)]


def _ranks(role: str) -> dict[str, str]:
    """Return the rule that a role's GPUs are as many as its ranks."""
    sizes = f"self.{role}.parallelism"
    # The API server tries rules on the default {} too, before it fills in the sizes.
    given = f"has(self.{role}.gpusPerNode) && has(self.{role}.nodesPerReplica) && has({sizes})"
    whole = " && ".join(f"has({sizes}.{size})" for size in ("tensor", "pipeline", "context"))
    equal = (
        f"self.{role}.gpusPerNode * self.{role}.nodesPerReplica == "
        f"{sizes}.tensor * {sizes}.pipeline * {sizes}.context"
    )
    on_cpu = "has(self.runtime) && self.runtime.engine in ['reference', 'mocker']"
    return cel(
        f"{on_cpu} || !has(self.{role}) || !({given} && {whole}) || {equal}",
        "gpusPerNode x nodesPerReplica must equal tensor x pipeline x context: change one of them",
        f".{role}.gpusPerNode",
    )


class DisaggDeploymentSpec(ApiModel):
    """A model served by separate prefill and decode workers. Everything that is left out is derived."""

    model_config = ConfigDict(json_schema_extra=rules(_ranks("prefill"), _ranks("decode")))

    model: ModelSpec
    """The model that is served."""
    platform: PlatformName = "generic"
    """Profile of the machines and their fabric: what is derived for devices, transport, environment and
    resources. ``kubectl disagg platforms`` lists them; generic stands for any machines and plain TCP."""
    platform_profile: OpaqueObject | None = None
    """What differs from platform's profile, in the shape of a machine profile
    (``kubectl disagg platforms NAME -o yaml``). like names another profile to start from. Values need no
    reason and no source. Default: nothing differs."""
    runtime: RuntimeSpec = Field(default_factory=RuntimeSpec)
    """Engine, frontend and image."""
    transfer: TransferSpec = Field(default_factory=TransferSpec)
    """How KV cache moves from prefill to decode."""
    prefill: RoleSpec = Field(default_factory=RoleSpec)
    """Workers that compute the KV cache of prompts."""
    decode: RoleSpec = Field(default_factory=RoleSpec)
    """Workers that generate tokens from the transferred KV cache."""
    frontend: FrontendSpec = Field(default_factory=FrontendSpec)
    """The HTTP front door."""
    local_prefill: LocalPrefillSpec | None = None
    """Prompts that decode computes itself. Default: prefill computes every prompt."""
    discovery: DiscoverySpec = Field(default_factory=DiscoverySpec)
    """How frontend and workers find each other."""
    network: NetworkSpec = Field(default_factory=NetworkSpec)
    """Who may reach the pods."""
    env: Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    """Environment variables of prefill and decode workers; they win over derived ones. Those that wire the
    deployment together cannot be set."""
    service_account_name: ObjectName | None = None
    """Existing ServiceAccount of the pods, in the namespace of the deployment. Default: one that the
    operator makes, with just what discovery needs."""
    verification: VerificationSpec = Field(default_factory=VerificationSpec)
    """Measurement of the transport in use."""
    security: SecuritySpec = Field(default_factory=SecuritySpec)
    """Security context of the workers."""
    placement: PlacementSpec = Field(default_factory=PlacementSpec)
    """Where pods may run."""
    rollout: RolloutSpec = Field(default_factory=RolloutSpec)
    """How changes are rolled out."""
    drain: DrainSpec | None = None
    """How pods end without losing requests. Default: as with an empty one, {}."""
    scaling: ScalingSpec | None = None
    """Roles that are scaled from outside: replicas is then where they start. Default: none."""
    compute_domain: ComputeDomainSpec | None = None
    """NVIDIA ComputeDomain of platforms with NVLink between nodes. Default: from the platform."""
