"""TensorRT-LLM workers behind a Dynamo frontend: their command line and the engine's YAML file.

Invariant: both roles get the same transfer settings; what a role gets of its own is that prefill does not
overlap scheduling with execution, which TensorRT-LLM refuses for context-only requests.
"""

from typing import Any

import yaml

from disagg_operator.api.merge import merged
from disagg_operator.plan.engines.engine import CONFIG_FOLDER, Asked, EngineWorker
from disagg_operator.plan.engines.models import hub_environment, model_mounts, model_path
from disagg_operator.plan.environment import fill
from disagg_operator.plan.model import PREFILL

CONFIG_FILE = "engine.yaml"
_MILLISECONDS = 1000


def worker(asked: Asked) -> EngineWorker:
    """Return how TensorRT-LLM runs the workers of a role."""
    model = asked.resource.spec.model
    values = {
        **asked.facts,
        "dynamo_namespace": asked.dynamo_namespace,
        "model_path": model_path(model.source),
        "model_name": model.name,
        "config_file": f"{CONFIG_FOLDER}/{CONFIG_FILE}",
    }
    return EngineWorker(
        command=tuple(fill(word, values) for word in asked.release.command),
        files={CONFIG_FILE: yaml.safe_dump(engine_config(asked), sort_keys=False)},
        mounts=model_mounts(model.source),
        environment=hub_environment(model.source),
    )


def engine_config(asked: Asked) -> dict[str, Any]:
    """Return the engine's configuration, with the user's merged over the derived one."""
    sizes = asked.spec.parallelism
    transfer = asked.resource.spec.transfer
    transceiver: dict[str, Any] = {
        "backend": asked.transfer.method,
        "kv_transfer_timeout_ms": transfer.timeout_seconds * _MILLISECONDS,
    }
    if transfer.max_tokens_in_buffer is not None:
        transceiver["max_tokens_in_buffer"] = transfer.max_tokens_in_buffer
    derived = {
        "tensor_parallel_size": sizes.tensor,
        "pipeline_parallel_size": sizes.pipeline,
        "context_parallel_size": sizes.context,
        "moe_expert_parallel_size": sizes.expert,
        "disable_overlap_scheduler": asked.role == PREFILL,
        "cache_transceiver_config": transceiver,
    }
    found: dict[str, Any] = merged(derived, asked.spec.engine_config)
    return found
