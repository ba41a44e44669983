"""The DisaggDeployment that an answer asks for. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Any

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.sizing.answer import Answer
from disagg_operator.sizing.assumptions import models
from disagg_operator.sizing.fleet import Role
from disagg_operator.sizing.kv import KvType

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_NAME_LENGTH = 40
"""Characters: names of what the operator makes are longer."""


def resource(answer: Answer, model: str) -> dict[str, Any]:
    """Return the resource.

    Args:
        answer: the answer.
        model: repository of the model, or the name of a directory on a volume ``models``.
    """
    question = answer.question
    load, block = question.load, int(question.assumed["tokens_per_block"])
    whole = math.ceil(load.longest / block) * block
    source: dict[str, Any] = (
        {"huggingFace": {"repository": model}}
        if _REPOSITORY.fullmatch(model)
        else {"persistentVolumeClaim": {"claimName": "models", "path": model}}
    )
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": _name(model)},
        "spec": {
            "model": {"name": model, "source": source},
            "platform": question.platform,
            "runtime": {"engine": "trtllm", "frontend": "dynamo"},
            "transfer": {
                "method": "NIXL",
                "nixlBackend": question.backend,
                "maxTokensInBuffer": question.buffer_tokens,
            },
            "prefill": _role(answer, answer.fleet.prefill, {"max_num_tokens": whole, "max_seq_len": whole}),
            "decode": _role(
                answer,
                answer.fleet.decode,
                {"max_batch_size": answer.fleet.decode.batch, "max_seq_len": whole},
            ),
        },
    }


def remarks(answer: Answer, made: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the resource must know, which it cannot say itself.

    Args:
        answer: the answer.
        made: the resource.
    """
    load = answer.question.load
    found = [
        f"A prompt has at most {load.longest - load.osl} tokens, with {load.osl} of an answer: max_seq_len, "
        "max_num_tokens",
        "and maxTokensInBuffer leave no room for more. For longer prompts write --max-isl.",
    ]
    repository = made["spec"]["model"]["source"].get("huggingFace", {}).get("repository", "")
    if models().get(repository, {}).get("gated"):
        found += [
            f"{repository} is gated: accept its licence, make a Secret with your token, and write",
            "spec.model.source.huggingFace.tokenSecretRef: {name: NAME OF THE SECRET, key: token}",
        ]
    return found


def _role(answer: Answer, role: Role, sizes: dict[str, Any]) -> dict[str, Any]:
    question = answer.question
    per_node = question.per_node
    nodes = math.ceil(role.gpus / per_node)
    sizes_of = {"tensor": role.gpus // role.pipeline, "pipeline": role.pipeline, "expert": role.expert}
    parallelism = {name: size for name, size in sizes_of.items() if size > 1 or name == "tensor"}
    config = dict(sizes)
    if role.attention_dp:
        config["enable_attention_dp"] = True
        if "max_batch_size" in config:  # of each rank, with attention data parallelism
            config["max_batch_size"] = math.ceil(role.batch / role.gpus)
    cache: dict[str, Any] = {"free_gpu_memory_fraction": question.assumed["kv_memory_fraction"]}
    if question.kv_type is not KvType.AUTO:
        cache["dtype"] = "bfloat16" if question.kv_type is KvType.BF16 else str(question.kv_type)
    return {
        "replicas": role.replicas,
        **({"nodesPerReplica": nodes} if nodes > 1 else {}),
        "gpusPerNode": role.gpus // nodes,
        "parallelism": parallelism,
        "engineConfig": {**config, "kv_cache_config": cache},
    }


def _name(model: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", model.rpartition("/")[2].lower()).strip("-")
    return words[:_NAME_LENGTH].strip("-") or "sized"
