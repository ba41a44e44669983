"""The roles of disaggregated serving, prefill and decode, and how KV cache goes from one to the other."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from disagg_operator.api.v1alpha1.base import ApiModel, EnvVar, OpaqueObject, ResourceRequirements, Sparse
from disagg_operator.api.v1alpha1.markers import cel, list_map, rules, whole

ParallelSize = Annotated[int, Field(ge=1, le=1024, json_schema_extra=whole())]


class Parallelism(ApiModel):
    """How one model instance is spread over GPUs. tensor x pipeline x context is its number of ranks."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                # The API server tries rules on the default {} too, before it fills in the sizes.
                "!has(self.tensor) || !has(self.expert) || self.tensor % self.expert == 0",
                "expert must divide tensor: write an expert parallel size that tensor is a multiple of",
                ".expert",
            )
        )
    )

    tensor: ParallelSize = 1
    """Tensor parallel size: GPUs that share each layer."""
    pipeline: ParallelSize = 1
    """Pipeline parallel size: consecutive groups of layers, each on its own GPUs."""
    context: ParallelSize = 1
    """Context parallel size: GPUs that share one sequence. 1 for prefill."""
    expert: ParallelSize = 1
    """Expert parallel size of a mixture-of-experts model: a divisor of tensor."""


class RoleSpec(ApiModel):
    """Workers of one role. One model instance is a pod group of nodesPerReplica pods."""

    replicas: Annotated[int, Field(ge=0, le=1000, json_schema_extra=whole())] = 1
    """Number of model instances; with spec.scaling, only what the scaler starts with. Changing it never
    restarts the others."""
    nodes_per_replica: Annotated[int, Field(ge=1, le=256, json_schema_extra=whole())] = 1
    """Number of pods, each on its own node, that serve one model instance together."""
    gpus_per_node: Annotated[int, Field(ge=0, le=16, json_schema_extra=whole())] | None = None
    """Number of GPUs of each pod. gpusPerNode x nodesPerReplica must equal the ranks that parallelism asks
    for. Default: what parallelism needs per node; 0 for engines that run on CPU."""
    parallelism: Parallelism = Field(default_factory=Parallelism)
    """How one model instance is spread over its GPUs."""
    engine_config: OpaqueObject = Field(default_factory=dict)
    """The engine's own configuration, in the engine's own spelling, merged deeply over the derived one; null
    removes a derived setting."""
    env: Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    """Environment variables of this role's workers; they win over spec.env and over derived ones. Those
    that wire the deployment together cannot be set."""
    devices: (
        Annotated[dict[str, Annotated[int, Field(ge=0, le=128)]], Field(max_length=16), Sparse] | None
    ) = None
    """Number of extended resources of each pod by name, such as ``vpc.amazonaws.com/efa: 4``; GPUs go into
    gpusPerNode. Default: from the platform."""
    resources: ResourceRequirements | None = None
    """CPU and memory of each worker container. Default: from the platform and engine."""
    pod_template: OpaqueObject | None = None
    """Partial pod template (metadata, spec) merged over the derived one: maps by key, containers, volumes
    and env by name, mounts by mountPath; ``$patch: delete`` in a map or entry removes it.
    Default: nothing is changed."""


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


class KvbmSpec(ApiModel):
    """Dynamo's KV block manager on prefill workers: it keeps what leaves GPU memory in cheaper tiers."""

    nixl_backends: Annotated[dict[str, bool], Field(max_length=16), Sparse] = Field(default_factory=dict)
    """NIXL plugins that move blocks between the tiers, by name, such as UCX and GDS: true enables one, false
    disables it. Default: UCX alone."""
    cpu_cache_gb: Annotated[int, Field(ge=1, le=65536, json_schema_extra=whole())] | None = None
    """Size in GB of the tier in pinned host memory, which the pod's memory must hold; below the KV cache of
    the GPUs it gains nothing. Default: no such tier."""
    disk_cache_gb: Annotated[int, Field(ge=1, le=1048576, json_schema_extra=whole())] | None = None
    """Size in GB of the tier on disk; at least that of the tier in host memory. Default: no such tier."""


_TRANSFER_SECONDS = 60


class TransferSpec(ApiModel):
    """How KV cache moves from prefill to decode. Both roles always get the same settings."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.nixlBackend) || !has(self.method) || self.method == 'NIXL'",
                "nixlBackend is only for method NIXL: leave it out, or write method: NIXL",
                ".nixlBackend",
                "FieldValueForbidden",
            )
        )
    )

    method: TransferMethod | None = None
    """Library that moves the cache. Default: the one of the engine's release, which is NIXL in all but the
    oldest."""
    nixl_backend: NixlBackend | None = None
    """NIXL plugin, only with method NIXL. Default: the fabric's (UCX unless a profile says otherwise)."""
    max_tokens_in_buffer: Annotated[int, Field(ge=0, le=16777216, json_schema_extra=whole())] | None = None
    """Tokens that the engine's transfer buffer holds: at least the longest prompt, or its KV cache moves more
    slowly, and a multiple of the KV block size. Default: the engine's own."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600, json_schema_extra=whole())] = _TRANSFER_SECONDS
    """Seconds that one transfer may take, after which the request fails and its blocks are freed. Pods also
    get this long to finish transfers."""
    restart_wedged: bool = True
    """Whether a worker is started anew whose engine says that it cannot move KV cache until then."""
    kvbm: KvbmSpec | None = None
    """Dynamo's KV block manager on prefill workers. Default: none; blocks that leave GPU memory are lost."""

    @property
    def limit_written(self) -> bool:
        """Whether the user asks for a limit: API servers write the default into every resource."""
        return self.timeout_seconds != _TRANSFER_SECONDS
