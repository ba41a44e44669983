"""TensorRT-LLM workers: their command line and the engine's YAML file.

Invariant: both roles get the same transfer settings. The library that moves KV cache is always written:
without it TensorRT-LLM transfers nothing, and DEFAULT depends on variables of the image.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from disagg_operator.plan.engines.config import explained, laid_over, nested, value_at
from disagg_operator.plan.engines.engine import CONFIG_FOLDER, Asked, EngineWorker
from disagg_operator.plan.engines.kv_events import kv_event_arguments
from disagg_operator.plan.engines.kvbm import kvbm_arguments, kvbm_environment
from disagg_operator.plan.engines.models import hub_environment, model_mounts, model_path
from disagg_operator.plan.environment import fill
from disagg_operator.plan.model import DECODE, ConfigSetting, Provenance
from disagg_operator.platforms.trtllm.schema import argument
from disagg_operator.platforms.vocabulary import ON

CONFIG_FILE = "engine.yaml"
TRANSCEIVER = "cache_transceiver_config"
TOKENS_PER_BLOCK = 32
"""Tokens of a KV block where nobody says otherwise (TensorRT-LLM: KvCacheConfig.tokens_per_block)."""
BLOCK = "kv_cache_config.tokens_per_block"
SPECULATIVE = "speculative_config"
ADDS_LAYERS = "MTP"
"""The way of speculative decoding whose layers are part of the KV cache."""
_AGREED = {
    "kv_cache_config.dtype": "Prefill and decode must keep KV cache in the same type.",
    BLOCK: "Prefill and decode must keep KV cache in blocks of the same size.",
}
_GRAPHS = "cuda_graph_config"
_OWN_GRAPHS = 128
"""Batch up to which TensorRT-LLM makes CUDA graphs where nobody says otherwise (CudaGraphConfig)."""
_MILLISECONDS = 1000


def worker(asked: Asked) -> EngineWorker:
    """Return how TensorRT-LLM runs the workers of a role.

    Raises:
        Refusal: the release lacks something that is asked for.
    """
    model = asked.resource.spec.model
    derived = derived_settings(asked)
    config = engine_config(derived, asked.spec.engine_config, asked.release.version)
    values = {
        **asked.facts,
        "dynamo_namespace": asked.dynamo_namespace,
        "model_path": model_path(model.source),
        "model_name": model.name,
        "config_file": f"{CONFIG_FOLDER}/{CONFIG_FILE}",
    }
    block = value_at(config, BLOCK) or TOKENS_PER_BLOCK
    return EngineWorker(
        command=(
            *(fill(word, values) for word in asked.release.command),
            *kvbm_arguments(asked),
            *kv_event_arguments(asked, block),
        ),
        files={CONFIG_FILE: yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False)},
        mounts=model_mounts(model.source),
        environment=(*hub_environment(model.source), *kvbm_environment(asked)),
        config=config,
        settings=explained(config, derived, f"{asked.path}.engineConfig"),
    )


def derived_settings(asked: Asked) -> tuple[ConfigSetting, ...]:
    """Return the settings of a role's engine that the user need not write."""
    return (
        *_parallelism(asked),
        *asked.release_settings(),
        *_graphs(asked),
        *_agreed(asked),
        *_transceiver(asked),
    )


def engine_config(
    derived: tuple[ConfigSetting, ...], written: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """Return what the engine's file holds.

    Args:
        derived: the derived settings.
        written: what the user lays over them. Null removes one, but for a section that TensorRT-LLM itself
            switches off by null, such as ``cuda_graph_config``.
        version: version of TensorRT-LLM.
    """
    config = laid_over(nested(derived), written)
    off = {key: None for key, value in written.items() if value is None and _can_be_off(version, key)}
    return {**config, **off}


def _can_be_off(version: str, key: str) -> bool:
    known = argument(version, key)
    return known is not None and known.optional and known.kind in ("section", "tagged")


def _parallelism(asked: Asked) -> Iterator[ConfigSetting]:
    sizes = asked.spec.parallelism
    keys = {
        "tensor_parallel_size": ("tensor", sizes.tensor),
        "pipeline_parallel_size": ("pipeline", sizes.pipeline),
        "context_parallel_size": ("context", sizes.context),
        "moe_expert_parallel_size": ("expert", sizes.expert),
    }
    for key, (field, size) in keys.items():
        if size > 1 or field in ("tensor", "pipeline"):
            reason = Provenance(
                f"The {field} parallel size of the role.", f"{asked.path}.parallelism.{field}"
            )
            yield ConfigSetting(key, size, reason)


def _graphs(asked: Asked) -> Iterator[ConfigSetting]:
    written = asked.spec.engine_config
    size = written.get("max_batch_size")
    own = written.get(_GRAPHS, {})
    asks_otherwise = not isinstance(own, Mapping) or "batch_sizes" in own or asked.facts["kvbm"] == ON
    if asked.role != DECODE or asks_otherwise or not isinstance(size, int) or size < 1:
        return
    reason = Provenance(
        f"Graphs for batches as large as the role takes; TensorRT-LLM itself has them up to {_OWN_GRAPHS}.",
        f"{asked.path}.engineConfig.max_batch_size",
    )
    yield ConfigSetting(f"{_GRAPHS}.max_batch_size", size, reason)


def _agreed(asked: Asked) -> Iterator[ConfigSetting]:
    """Yield what the other role alone says of the KV cache, and both must have alike."""
    peer, theirs = asked.peer
    source = f"spec.{peer}.engineConfig"
    for key, why in _AGREED.items():
        value = value_at(theirs.engine_config, key)
        if value not in (None, "auto") and value_at(asked.spec.engine_config, key) is None:
            yield ConfigSetting(key, value, Provenance(why, f"{source}.{key}"))
    speculation = theirs.engine_config.get(SPECULATIVE)
    kind = value_at(theirs.engine_config, f"{SPECULATIVE}.decoding_type")
    if kind == ADDS_LAYERS and SPECULATIVE not in asked.spec.engine_config:
        why = f"{ADDS_LAYERS} adds layers to the KV cache, which both roles must have."
        for each in explained({SPECULATIVE: speculation}, (), source):
            yield ConfigSetting(each.key, each.value, Provenance(why, f"{source}.{each.key}"))


def _transceiver(asked: Asked) -> Iterator[ConfigSetting]:
    version = asked.release.version
    transfer = asked.resource.spec.transfer
    library = argument(version, f"{TRANSCEIVER}.backend")
    # Early versions write the libraries in lower case.
    spelling = {choice.upper(): choice for choice in library.choices} if library else {}
    method = asked.transfer.method
    yield ConfigSetting(f"{TRANSCEIVER}.backend", spelling.get(method, method), asked.transfer.provenance)
    if argument(version, f"{TRANSCEIVER}.kv_transfer_timeout_ms"):
        reason = Provenance("Both roles give a transfer up after this time.", "spec.transfer.timeoutSeconds")
        timeout = transfer.timeout_seconds * _MILLISECONDS
        yield ConfigSetting(f"{TRANSCEIVER}.kv_transfer_timeout_ms", timeout, reason)
    if transfer.max_tokens_in_buffer is not None:
        reason = Provenance("Set by the user.", "spec.transfer.maxTokensInBuffer")
        yield ConfigSetting(f"{TRANSCEIVER}.max_tokens_in_buffer", transfer.max_tokens_in_buffer, reason)
