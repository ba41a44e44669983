"""What runs: the engine, the frontend in front of it, and how they find each other."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from disagg_operator.api.v1alpha1.base import (
    ApiModel,
    EnvVar,
    LocalObjectReference,
    OpaqueObject,
    ResourceRequirements,
)
from disagg_operator.api.v1alpha1.markers import cel, list_map, list_set, rules, whole
from disagg_operator.api.v1alpha1.patterns import HTTP_URL, NATS_URL, NO_SPACE


class Engine(StrEnum):
    """Inference engines."""

    TRTLLM = "trtllm"
    VLLM = "vllm"
    SGLANG = "sglang"
    MOCKER = "mocker"
    REFERENCE = "reference"


class FrontendKind(StrEnum):
    """Programs that receive requests and orchestrate prefill and decode."""

    DYNAMO = "dynamo"
    TRTLLM_SERVE = "trtllm-serve"


class ImagePullPolicy(StrEnum):
    """When the kubelet pulls an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class RuntimeSpec(ApiModel):
    """Engine, frontend and the image that holds them."""

    engine: Engine = Engine.TRTLLM
    """Inference engine of the prefill and decode workers. This version of the operator runs trtllm, and
    reference, a small Llama on CPU."""
    frontend: FrontendKind = FrontendKind.DYNAMO
    """Program that receives the requests. This version of the operator runs dynamo."""
    version: Annotated[str, Field(pattern=NO_SPACE, max_length=64)] | None = None
    """Version of the frontend's release, in quotes (for Dynamo: its version, which fixes the engine's).
    Default: the newest known one that holds the engine, never a release candidate."""
    image: Annotated[str, Field(pattern=NO_SPACE, max_length=1024)] | None = None
    """Container image of workers and frontend. Default: the release image of engine, version and platform;
    of a release that was never published with the transfer method, one has to be built."""
    image_pull_policy: ImagePullPolicy | None = None
    """When to pull the image. Default: Kubernetes' own rule."""
    image_pull_secrets: Annotated[
        list[LocalObjectReference], Field(max_length=16, json_schema_extra=list_map("name"))
    ] = Field(default_factory=list)
    """Secrets with registry credentials, in the namespace of the deployment."""


class RouterMode(StrEnum):
    """How the frontend chooses a worker."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    KV = "kv"


class FrontendSpec(ApiModel):
    """The HTTP front door."""

    replicas: Annotated[int, Field(ge=0, le=100, json_schema_extra=whole())] = 1
    """Number of frontend pods."""
    port: Annotated[int, Field(ge=1, le=65535, json_schema_extra=whole())] = 8000
    """TCP port of the frontend's Service and container. The container has no privileges: 1024 or more."""
    router_mode: RouterMode = RouterMode.ROUND_ROBIN
    """How a worker is chosen for a request: in turn, at random, or where most of the prompt's KV cache
    already is. This version of the operator runs round-robin and random."""
    env: Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    """Environment variables of the frontend container; they win over derived ones. Variables by which the
    operator wires the deployment together cannot be set."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the frontend container. Default: from the platform."""
    pod_template: OpaqueObject | None = None
    """Partial pod template (metadata and spec) merged over the derived one: maps by key, containers,
    volumes and env by name, volume mounts by mountPath; ``$patch: delete`` in a map or entry removes it.
    Default: nothing is changed."""


class DiscoveryBackend(StrEnum):
    """Where workers announce themselves."""

    KUBERNETES = "kubernetes"
    ETCD = "etcd"


class DiscoverySpec(ApiModel):
    """How frontend and workers find each other."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.backend) || self.backend == 'etcd' "
                "|| !has(self.etcdEndpoints) || self.etcdEndpoints.size() == 0",
                "etcdEndpoints is only for backend etcd: leave it out, or write backend: etcd",
                ".etcdEndpoints",
                "FieldValueForbidden",
            )
        )
    )

    backend: DiscoveryBackend | None = None
    """Store of the registrations. kubernetes needs no further service. Default: etcd if etcdEndpoints names
    one, or else the one of the frontend's release, which is kubernetes from Dynamo 1.0 on."""
    etcd_endpoints: Annotated[
        list[Annotated[str, Field(pattern=HTTP_URL, max_length=1024)]],
        Field(max_length=16, json_schema_extra=list_set()),
    ] = Field(default_factory=list)
    """URLs of an existing etcd, such as ``http://etcd:2379``. Only with backend etcd, which needs one."""
    nats_server: Annotated[str, Field(pattern=NATS_URL, max_length=1024)] | None = None
    """URL of an existing NATS server, such as ``nats://nats:4222``. Only for versions that need NATS, which
    are Dynamo's before 0.8. Default: no NATS."""
