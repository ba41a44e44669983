"""What runs: the engine, the frontend in front of it, and how they find each other."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from disagg_operator.api.v1alpha1.base import (
    ApiModel,
    EnvVar,
    LocalObjectReference,
    OpaqueObject,
    ResourceRequirements,
)
from disagg_operator.api.v1alpha1.markers import list_map, whole
from disagg_operator.api.v1alpha1.patterns import NO_SPACE


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
    """Inference engine of the prefill and decode workers. reference is a small Llama on CPU; mocker simulates
    one and moves no KV cache."""
    frontend: FrontendKind = FrontendKind.DYNAMO
    """Program that receives the requests: Dynamo's, or trtllm-serve, TensorRT-LLM's own."""
    version: Annotated[str, Field(pattern=NO_SPACE, max_length=64)] | None = None
    """Version of the frontend's release, in quotes (Dynamo's, which fixes the engine's; TensorRT-LLM's).
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
    LEAST_LOADED = "least-loaded"


class FrontendSpec(ApiModel):
    """The HTTP front door."""

    replicas: Annotated[int, Field(ge=0, le=100, json_schema_extra=whole())] = 1
    """Number of frontend pods."""
    port: Annotated[int, Field(ge=1, le=65535, json_schema_extra=whole())] = 8000
    """TCP port of the frontend's Service and container. The container has no privileges: 1024 or more."""
    router_mode: RouterMode = RouterMode.ROUND_ROBIN
    """How a worker is chosen for a request: in turn, at random, where most of the prompt's KV cache already
    is (workers then share blocks between prompts and tell of them), or where fewest requests run. Dynamo's
    frontend runs all but least-loaded, trtllm-serve all but random."""
    config: OpaqueObject | None = None
    """Further keys of trtllm-serve's configuration file, such as schedule_style, laid over the derived ones.
    Default: none."""
    env: Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=list_map("name"))] = Field(
        default_factory=list
    )
    """Environment variables of the frontend container; they win over derived ones. Those that wire the
    deployment together cannot be set."""
    resources: ResourceRequirements | None = None
    """CPU and memory of the frontend container. Default: from the platform."""
    pod_template: OpaqueObject | None = None
    """Partial pod template (metadata, spec) merged over the derived one: maps by key, containers, volumes
    and env by name, mounts by mountPath; ``$patch: delete`` in a map or entry removes it.
    Default: nothing is changed."""
