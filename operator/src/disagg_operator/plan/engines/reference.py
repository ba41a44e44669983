"""The reference engine: a real small Llama on CPU, served by the worker image.

Its configuration is checked here with the same keys and bounds that the worker checks when it starts, so that
a mistake is refused while the running deployment is untouched.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.plan.engines.engine import CONFIG_FOLDER, Asked, EngineWorker
from disagg_operator.plan.engines.kv_events import kv_event_arguments
from disagg_operator.plan.engines.models import model_mounts, model_path
from disagg_operator.plan.model import PREFILL, Port
from disagg_operator.plan.routing import short_prompt_tokens
from disagg_operator.platforms.vocabulary import ON

CONFIG_FILE = "engine.yaml"
METRICS_PORT = Port("metrics", 9091)
GROUP_PORT = Port("group", 9092)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class KvCache(_Section):
    """The paged KV pool: tokens of a block, memory of all blocks in MiB, and whether prompts share blocks.

    They do where the frontend's router goes by blocks, whatever is written (None: nothing).
    """

    block_tokens: Annotated[int, Field(ge=1, le=256)] = 16
    memory_mib: Annotated[int, Field(ge=1)] = 256
    enable_block_reuse: bool | None = None


class Scheduler(_Section):
    """Continuous batching: sequences decoded at once, prompt tokens of a step, longest sequence in tokens.

    Beyond ``max_waiting_requests`` further ones are refused (None: the worker's own limit).
    """

    max_batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    prefill_chunk_tokens: Annotated[int, Field(ge=1)] = 512
    max_sequence_tokens: Annotated[int, Field(ge=1)] = 4096
    max_waiting_requests: Annotated[int | None, Field(ge=1)] = None


class Staging(_Section):
    """Memory through which KV cache in small blocks is moved; what is left out is the worker's own (None)."""

    use: Literal["auto", "always", "never"] | None = None
    slots: Annotated[int | None, Field(ge=2, le=64)] = None
    slot_mib: Annotated[int | None, Field(ge=0, le=4096)] = None
    most_mb_per_second: Annotated[float | None, Field(ge=0, strict=False)] = None


class Compute(_Section):
    """Threads (0: as many as the pod may use) and device of the computation."""

    threads: Annotated[int, Field(ge=0)] = 0
    device: Literal["cpu"] = "cpu"


class EngineConfig(_Section):
    """What ``engineConfig`` may hold. The sections model and transfer belong to the operator."""

    kv_cache: KvCache = Field(default_factory=KvCache)
    scheduler: Scheduler = Field(default_factory=Scheduler)
    compute: Compute = Field(default_factory=Compute)
    staging: Staging = Field(default_factory=Staging)


def worker(asked: Asked) -> EngineWorker:
    """Return how the reference engine runs the workers of a role.

    Raises:
        Refusal: ``engineConfig`` has a key or value that the engine would refuse.
    """
    spec = asked.resource.spec
    config = _checked(asked.spec.engine_config, f"{asked.path}.engineConfig")
    document: dict[str, Any] = {
        "model": {"path": model_path(spec.model.source), "name": spec.model.name},
        **{name: section for name, section in config.model_dump(exclude_none=True).items() if section},
        "transfer": {
            "method": asked.transfer.method,
            "backend": asked.transfer.nixl_backend,
            "timeout_seconds": spec.transfer.timeout_seconds,
        },
    }
    if asked.facts["kv_events"] == ON:
        document["kv_cache"] = {**document["kv_cache"], "enable_block_reuse": True}
    short = short_prompt_tokens(spec)
    if short and asked.role == PREFILL:
        document["local_prefill"] = {"max_prompt_tokens": short}
    return EngineWorker(
        command=(
            "disagg-worker",
            "serve",
            "--role",
            asked.role,
            "--config",
            f"{CONFIG_FOLDER}/{CONFIG_FILE}",
            *kv_event_arguments(asked, config.kv_cache.block_tokens),
        ),
        files={CONFIG_FILE: yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)},
        mounts=model_mounts(spec.model.source),
        ports=(METRICS_PORT,),
        group_port=GROUP_PORT,
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
