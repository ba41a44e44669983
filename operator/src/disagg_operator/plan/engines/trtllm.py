"""TensorRT-LLM workers: their command line and the engine's YAML file.

Invariant: both roles get the same transfer settings. The library that moves KV cache is always written:
without it TensorRT-LLM transfers nothing, and DEFAULT depends on variables of the image.
"""

from collections.abc import Iterator

import yaml

from disagg_operator.plan.engines.config import explained, laid_over, nested, value_at
from disagg_operator.plan.engines.engine import CONFIG_FOLDER, Asked, EngineWorker
from disagg_operator.plan.engines.kv_events import kv_event_arguments
from disagg_operator.plan.engines.kvbm import kvbm_arguments, kvbm_environment
from disagg_operator.plan.engines.models import hub_environment, model_mounts, model_path
from disagg_operator.plan.environment import fill
from disagg_operator.plan.facts import applicable, provenance
from disagg_operator.plan.model import ConfigSetting, Provenance
from disagg_operator.platforms.trtllm.schema import argument

CONFIG_FILE = "engine.yaml"
TRANSCEIVER = "cache_transceiver_config"
TOKENS_PER_BLOCK = 32
"""Tokens of a KV block where nobody says otherwise (TensorRT-LLM: KvCacheConfig.tokens_per_block)."""
_MILLISECONDS = 1000


def worker(asked: Asked) -> EngineWorker:
    """Return how TensorRT-LLM runs the workers of a role.

    Raises:
        Refusal: the release lacks something that is asked for.
    """
    model = asked.resource.spec.model
    values = {
        **asked.facts,
        "dynamo_namespace": asked.dynamo_namespace,
        "model_path": model_path(model.source),
        "model_name": model.name,
        "config_file": f"{CONFIG_FOLDER}/{CONFIG_FILE}",
    }
    derived = derived_settings(asked)
    config = laid_over(nested(derived), asked.spec.engine_config)
    block = value_at(config, "kv_cache_config.tokens_per_block") or TOKENS_PER_BLOCK
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
    release = (
        ConfigSetting(each.key, each.value, provenance(each))
        for each in applicable(asked.release.settings, asked.facts)
    )
    return (*_parallelism(asked), *release, *_transceiver(asked))


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
