"""The reference engine: a real small Llama on CPU, served by the worker image.

Its configuration is checked here with the same keys and bounds that the worker checks when it starts, so that
a mistake is refused while the running deployment is untouched.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.plan.model import Mount, Port

CONFIG_FILE = "engine.yaml"
CONFIG_FOLDER = "/etc/disagg"
METRICS_PORT = Port("metrics", 9091)
VOLUME_PATH = "/models/volume"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class KvCache(_Section):
    """The paged KV pool: tokens of a block, and memory of all blocks in MiB."""

    block_tokens: Annotated[int, Field(ge=1, le=256)] = 16
    memory_mib: Annotated[int, Field(ge=1)] = 256


class Scheduler(_Section):
    """Continuous batching: sequences decoded at once, prompt tokens of a step, longest sequence in tokens."""

    max_batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    prefill_chunk_tokens: Annotated[int, Field(ge=1)] = 512
    max_sequence_tokens: Annotated[int, Field(ge=1)] = 4096


class Compute(_Section):
    """Threads (0: as many as the pod may use) and device of the computation."""

    threads: Annotated[int, Field(ge=0)] = 0
    device: Literal["cpu"] = "cpu"


class EngineConfig(_Section):
    """What ``engineConfig`` may hold. The sections model and transfer belong to the operator."""

    kv_cache: KvCache = Field(default_factory=KvCache)
    scheduler: Scheduler = Field(default_factory=Scheduler)
    compute: Compute = Field(default_factory=Compute)


def command(role: str) -> tuple[str, ...]:
    """Return the argument vector of a worker of ``role``."""
    return ("disagg-worker", "serve", "--role", role, "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}")


def files(resource: DisaggDeployment, role: str, role_spec: RoleSpec, nixl_backend: str) -> dict[str, str]:
    """Return the configuration files of a role by name.

    Args:
        resource: the deployment.
        role: prefill or decode.
        role_spec: specification of that role.
        nixl_backend: NIXL plugin, already derived.

    Raises:
        Refusal: ``engineConfig`` has a key or value that the engine would refuse.
    """
    config = _checked(role_spec.engine_config, f"spec.{role}.engineConfig")
    transfer = resource.spec.transfer
    document = {
        "model": {"path": _model_path(resource), "name": resource.spec.model.name},
        **config.model_dump(),
        "transfer": {
            "method": transfer.method.value,
            "backend": nixl_backend,
            "timeout_seconds": transfer.timeout_seconds,
        },
    }
    return {CONFIG_FILE: yaml.safe_dump(document, sort_keys=False)}


def mounts(resource: DisaggDeployment) -> tuple[Mount, ...]:
    """Return the volumes that hold the model's files."""
    claim = resource.spec.model.source.persistent_volume_claim
    if claim is None:
        return ()
    volume = {"persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}}
    return (Mount("model", VOLUME_PATH, volume, read_only=True),)


def _model_path(resource: DisaggDeployment) -> str:
    source = resource.spec.model.source
    if source.runtime_image is not None:
        return source.runtime_image.path
    if source.persistent_volume_claim is not None:
        return f"{VOLUME_PATH}/{source.persistent_volume_claim.path}".rstrip("/")
    raise Refusal(
        [
            Problem(
                "spec.model.source",
                "not supported yet: the reference engine reads models from its own image or a volume",
                "Write runtimeImage or persistentVolumeClaim",
                "reference-model-source",
            )
        ]
    )


def _checked(config: Mapping[str, Any], path: str) -> EngineConfig:
    try:
        return EngineConfig.model_validate(config)
    except ValidationError as error:
        raise Refusal([_problem(path, detail) for detail in error.errors()]) from None


def _problem(path: str, detail: Any) -> Problem:
    location = [str(part) for part in detail["loc"]]
    field = ".".join([path, *location])
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        fault = f"the reference engine has no setting {location[-1]!r} here"
        return Problem(field, fault, f"Known settings: {', '.join(known)}", "reference-engine-config")
    fault = f"{detail['msg'][0].lower()}{detail['msg'][1:]} (given: {detail['input']!r})"
    return Problem(
        field, fault, "Correct the value or leave it out for the default", "reference-engine-config"
    )


def _known_keys(location: list[str]) -> list[str]:
    model: type[BaseModel] = EngineConfig
    for part in location:
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(model.model_fields)
