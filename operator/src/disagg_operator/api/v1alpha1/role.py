"""The two roles of disaggregated serving, prefill and decode, and how KV cache goes from one to the other."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from disagg_operator.api.v1alpha1.base import (
    ApiModel,
    EnvVar,
    OpaqueObject,
    ResourceRequirements,
    list_map,
)

ParallelSize = Annotated[int, Field(ge=1, le=1024, json_schema_extra={"format": "int32"})]


class Parallelism(ApiModel):
    """How one model instance is spread over its GPUs. tensor × pipeline × context is its number of ranks."""

    tensor: ParallelSize = 1
    """Tensor parallel size: GPUs that share each layer."""
    pipeline: ParallelSize = 1
    """Pipeline parallel size: consecutive groups of layers."""
    context: ParallelSize = 1
    """Context parallel size: GPUs that share one sequence."""
    expert: ParallelSize = 1
    """Expert parallel size of a mixture-of-experts model, within the tensor parallel group."""


class RoleSpec(ApiModel):
    """Workers of one role. One model instance is a pod group of nodesPerReplica pods."""

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra={"format": "int32"})] = 1
    """Number of model instances. Changing it never restarts the others."""
    nodes_per_replica: Annotated[int, Field(ge=1, le=256, json_schema_extra={"format": "int32"})] = 1
    """Pods (nodes) that serve one model instance together."""
    gpus_per_node: Annotated[int, Field(ge=0, le=16, json_schema_extra={"format": "int32"})] | None = None
    """GPUs of each pod. Default: what parallelism needs per node; 0 for engines that run on CPU."""
    parallelism: Parallelism = Field(default_factory=Parallelism)
    """How one model instance is spread over its GPUs."""
    engine_config: OpaqueObject = Field(default_factory=dict)
    """The engine's own configuration, in the engine's own spelling, merged deeply over the derived one."""
    env: Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    """Environment variables of this role's workers; they win over spec.env and derived ones."""
    devices: Annotated[dict[str, Annotated[int, Field(ge=0, le=128)]], Field(max_length=16)] | None = None
    """Extended resources of each pod by name, such as ``vpc.amazonaws.com/efa: 4``. Default: from the platform."""
    resources: ResourceRequirements | None = None
    """CPU and memory of each worker pod. Default: from the platform and engine."""
    pod_template: OpaqueObject | None = None
    """Partial pod template merged over the derived one: maps by key, containers, volumes and env by name."""


class TransferMethod(StrEnum):
    """Libraries that move KV cache (TensorRT-LLM's ``cache_transceiver_config.backend``)."""

    NIXL = "NIXL"
    UCX = "UCX"
    MOONCAKE = "MOONCAKE"
    MPI = "MPI"


class NixlBackend(StrEnum):
    """NIXL plugins that move KV cache between nodes."""

    UCX = "UCX"
    LIBFABRIC = "LIBFABRIC"


class TransferSpec(ApiModel):
    """How KV cache moves from prefill to decode. Both roles always get the same settings."""

    method: TransferMethod = TransferMethod.NIXL
    """Library that moves the cache."""
    nixl_backend: NixlBackend | None = None
    """NIXL plugin. Default: the platform's (UCX unless a profile says otherwise). Only with method NIXL."""
    max_tokens_in_buffer: (
        Annotated[int, Field(ge=1, le=16777216, json_schema_extra={"format": "int32"})] | None
    ) = None
    """Tokens that the engine's transfer buffer holds. At least the longest prompt, and a multiple of the
    KV block size. Default: the engine's own."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600, json_schema_extra={"format": "int32"})] = 60
    """Longest time for one transfer, after which the request fails and its blocks are freed."""
