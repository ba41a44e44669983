"""Deployments that tests plan: by default of TensorRT-LLM with a model from the hub."""

from collections.abc import Mapping, Sequence
from typing import Any

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import Catalogue, builtin


def deployment_of(spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a deployment with these parts of its specification and of its metadata."""
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "demo", **metadata},
        "spec": {"model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}}, **spec},
    }


def trtllm(platform: str = "generic", gpus: int = 2, **spec: Any) -> dict[str, Any]:
    """Return a deployment whose workers have some GPUs each, with further parts of its specification."""
    workers = {"parallelism": {"tensor": gpus}}
    return deployment_of({"platform": platform, "prefill": workers, "decode": workers, **spec})


def planned(
    platform: str = "generic", gpus: int = 2, *, catalogue: Catalogue | None = None, **spec: Any
) -> Plan:
    """Plan such a deployment, with the profiles of the package or others."""
    installation = Installation("worker:test", catalogue=catalogue or builtin())
    return plan(accept(trtllm(platform, gpus, **spec)), installation)


def watched(command: Sequence[str]) -> tuple[str, ...]:
    """Return what a TensorRT-LLM worker's command starts and watches."""
    assert list(command[:2]) == ["python3", "/etc/disagg/watch_output.py"]
    return tuple(command)[command.index("--") + 1 :]
