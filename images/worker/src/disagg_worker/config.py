"""The worker's configuration file (engine.yaml): its fields, their ranges, and how faults in it are told.

The file is strict: an unknown key is refused, because a misspelt setting that is silently ignored is found
weeks later. Every fault is reported at once, each with its field, what is wrong and what to write instead.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from disagg_worker.errors import ConfigError


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSection(Section):
    """Which model is served."""

    path: Annotated[Path, Field(strict=False, description="Directory with config.json and model.gguf.")]
    name: Annotated[str, Field(min_length=1, description="Name that clients ask for.")]


class KvCacheSection(Section):
    """The paged KV cache."""

    block_tokens: Annotated[int, Field(ge=1, le=1024, description="Tokens in one block.")] = 16
    memory_mib: Annotated[int, Field(ge=1, description="Size of the whole pool in MiB.")] = 256
    enable_block_reuse: Annotated[
        bool,
        Field(description="Whether prompts share the blocks of a common beginning."),
    ] = False


class SchedulerSection(Section):
    """Limits of continuous batching."""

    max_batch_size: Annotated[int, Field(ge=1, le=1024, description="Sequences computed at a time.")] = 8
    prefill_chunk_tokens: Annotated[int, Field(ge=1, description="Prompt tokens computed in one step.")] = 512
    max_sequence_tokens: Annotated[int, Field(ge=2, description="Prompt and answer together.")] = 4096
    max_waiting_requests: Annotated[int, Field(ge=1, description="Beyond these, requests are refused.")] = 256


class TransferSection(Section):
    """How KV blocks travel from the prefill to the decode worker."""

    method: Literal["NIXL"] = "NIXL"
    backend: Literal["UCX", "LIBFABRIC"] = "UCX"
    timeout_seconds: Annotated[float, Field(gt=0, strict=False, description="Limit of one KV read.")] = 30.0
    check: Annotated[
        bool, Field(description="Whether decode checks that it read what prefill computed, by sums of both.")
    ] = True


class StagingSection(Section):
    """Staging memory, through which KV cache in small blocks, or in blocks of another size, is moved."""

    use: Annotated[
        Literal["auto", "always", "never"],
        Field(description="Whether a read goes through it; auto: where that is quicker."),
    ] = "auto"
    slots: Annotated[int, Field(ge=2, le=64, description="Pieces that are under way at a time.")] = 4
    slot_mib: Annotated[
        int, Field(ge=0, le=4096, description="Memory of each in MiB; 0: 4 in host memory, 64 on a GPU.")
    ] = 0
    most_mb_per_second: Annotated[
        float, Field(ge=0, strict=False, description="Limit of what is read through it; 0: none.")
    ] = 0.0


class LocalPrefillSection(Section):
    """Which prompts are left to decode, which then reads no KV."""

    max_prompt_tokens: Annotated[int, Field(ge=0, description="Longest of them; 0: none.")] = 0


def _device(value: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", value):
        raise PydanticCustomError("device", "Input should be 'cpu', 'cuda' or 'cuda:N'")
    return value


class ComputeSection(Section):
    """Where the model is computed."""

    threads: Annotated[int, Field(ge=0, description="0: as many as affinity and cgroup allow.")] = 0
    device: Annotated[
        str, AfterValidator(_device), Field(description="cpu, cuda, or cuda:N for the GPU with this number.")
    ] = "cpu"
    step_seconds: Annotated[
        float,
        Field(gt=0, strict=False, description="Limit of another rank's part of a step; it hangs beyond."),
    ] = 120.0


class EngineConfig(Section):
    """All of engine.yaml. Everything but the model has a default."""

    model: ModelSection
    kv_cache: KvCacheSection = KvCacheSection()
    scheduler: SchedulerSection = SchedulerSection()
    transfer: TransferSection = TransferSection()
    staging: StagingSection = StagingSection()
    local_prefill: LocalPrefillSection = LocalPrefillSection()
    compute: ComputeSection = ComputeSection()

    @model_validator(mode="after")
    def _sequence_holds_a_block(self) -> "EngineConfig":
        if self.scheduler.max_sequence_tokens < self.kv_cache.block_tokens:
            raise ValueError(
                "scheduler.max_sequence_tokens is below kv_cache.block_tokens; "
                "write a smaller block or a longer sequence"
            )
        return self


def load_config(path: Path) -> EngineConfig:
    """Read and check engine.yaml.

    Args:
        path: The YAML file.

    Raises:
        ConfigError: The file is missing, is not YAML, or has faulty fields (all of them are listed).
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the file with --config") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold a mapping that starts with `model:`")
    return parse_config(document)


def parse_config(document: Mapping[str, Any]) -> EngineConfig:
    """Check a configuration that is already in memory; raises ConfigError like `load_config`."""
    try:
        return EngineConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError("\n".join(_faults(error))) from None


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        field = ".".join(str(part) for part in fault["loc"]) or "engine.yaml"
        if fault["type"] == "extra_forbidden":
            yield f"{field}: unknown key; {_instead(fault['loc'])}"
        elif fault["type"] == "missing":
            yield f"{field}: is required"
        else:
            yield f"{field}: {fault['msg']}; got {fault['input']!r}"


def _instead(location: tuple[int | str, ...]) -> str:
    """Tell which keys the section of an unknown key does have, the nearest first when there is one."""
    section: type[BaseModel] = EngineConfig
    for part in location[:-1]:
        annotation = section.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    known = list(section.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"write `{near[0]}`" if near else f"the keys here are {', '.join(known)}"
