"""What is doubtful about a deployment of a known model: heads and weights against GPUs, its licence. Pure.

Only `kubectl disagg lint` asks: the operator judges without knowing any model, and what is called by a known
name may hold something else. So nothing here refuses, and what is not sure is not told.
"""

import re
from collections.abc import Iterator, Mapping

from disagg_operator.api.admission.rule import roles
from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.platforms.profile import MachineProfile
from disagg_operator.sizing.assumptions import gpu_memory, models
from disagg_operator.sizing.model import ModelShape, shape_of

HEADS, WEIGHTS, GATED = "model-heads-divide", "model-weights-fit", "hub-token"
SOURCES: Mapping[str, str] = {
    HEADS: "docs/sizing.md#what-lint-knows-of-models",
    WEIGHTS: "docs/sizing.md#what-lint-knows-of-models",
    GATED: "https://huggingface.co/docs/hub/models-gated",
}
"""Where each rule is told, by its id."""
_ON_GPUS = (Engine.TRTLLM, Engine.VLLM, Engine.SGLANG)
_SPLIT_OTHERWISE = re.compile("attention_dp|data[-_]parallel|dp[-_]size|cpu[-_]offload")
_ALL_GATED = re.compile("meta-llama/(Meta-)?Llama-")
"""Repositories that are gated whatever their shape: Meta has its licence accepted for each Llama."""
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables in which the Hub's clients look for a token."""
_QUANTISED = "quant"
"""In names of engine settings with which heads or weights are not as the repository has them."""


def doubts(spec: DisaggDeploymentSpec, machine: MachineProfile) -> list[Problem]:
    """Return what is doubtful; nothing about models that are not known.

    Args:
        spec: the specification.
        machine: its platform.
    """
    return [*_token(spec), *_gpus(spec, machine)]


def _token(spec: DisaggDeploymentSpec) -> Iterator[Problem]:
    hub = spec.model.source.hugging_face
    # A mirror has rules of its own.
    if hub is None or hub.endpoint is not None or hub.token_secret_ref is not None or _brings_token(spec):
        return
    if _ALL_GATED.match(hub.repository) or models().get(hub.repository, {}).get("gated"):
        yield Problem(
            "spec.model.source.huggingFace.tokenSecretRef",
            f"is missing: {hub.repository} is gated, and Hugging Face gives it to nobody without a token",
            "Accept its licence there, make a Secret with your token, and write {name: NAME OF THE SECRET}",
            GATED,
        )


def _brings_token(spec: DisaggDeploymentSpec) -> bool:
    """Return whether a token may come by another way."""
    variables = [*spec.env, *spec.prefill.env, *spec.decode.env]
    written = str([role.pod_template for _, role in roles(spec)])
    return any(each.name in _TOKENS for each in variables) or any(
        word in written for word in (*_TOKENS, "envFrom")
    )


def _gpus(spec: DisaggDeploymentSpec, machine: MachineProfile) -> list[Problem]:
    repository = spec.model.source.hugging_face.repository if spec.model.source.hugging_face else ""
    name = repository or spec.model.name
    if name not in models() or spec.runtime.engine not in _ON_GPUS:
        return []
    shape = shape_of(name, models()[name]["config"])
    found: list[Problem] = []
    for path, role in roles(spec):
        settings = " ".join(role.engine_config)
        if _SPLIT_OTHERWISE.search(settings):
            continue
        found += _heads(path, role, shape)
        if repository and _QUANTISED not in settings:
            found += _weights(path, role, shape, machine)
    return found


def _heads(path: str, role: RoleSpec, shape: ModelShape) -> Iterator[Problem]:
    tensor = role.parallelism.tensor
    if shape.heads % tensor:
        dividing = max(size for size in range(1, tensor) if shape.heads % size == 0)
        yield Problem(
            f"{path}.parallelism.tensor",
            f"{tensor} GPUs cannot share the {shape.heads} attention heads of {shape.name} evenly, as the "
            "engine needs it",
            f"Write a divisor of {shape.heads}, such as {dividing}",
            HEADS,
        )


def _weights(path: str, role: RoleSpec, shape: ModelShape, machine: MachineProfile) -> Iterator[Problem]:
    memory = gpu_memory(machine)
    sizes = role.parallelism
    gpus = max(sizes.tensor * sizes.pipeline, role.nodes_per_replica * (role.gpus_per_node or 0))
    if memory and shape.weight_bytes / gpus >= memory:
        model = machine.gpus.model if machine.gpus else ""
        least = next(size for size in (2**power for power in range(20)) if shape.weight_bytes / size < memory)
        yield Problem(
            f"{path}.parallelism",
            f"{shape.weight_bytes / 1e9:.0f} GB of weights of {shape.name} ({shape.weights}) do not fit "
            f"{gpus} {model} of {memory / 1e9:.0f} GB",
            f"Write tensor and pipeline of {least} GPUs or more together, with room for KV cache: "
            "kubectl disagg size tells how many",
            WEIGHTS,
        )
