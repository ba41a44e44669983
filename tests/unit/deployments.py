"""Deployments of TensorRT-LLM that tests plan."""

from typing import Any

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import Catalogue, builtin


def trtllm(platform: str = "generic", gpus: int = 2, **spec: Any) -> dict[str, Any]:
    """Return a deployment whose workers have some GPUs each, with further parts of its specification."""
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "demo"},
        "spec": {
            "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
            "platform": platform,
            "prefill": {"parallelism": {"tensor": gpus}},
            "decode": {"parallelism": {"tensor": gpus}},
            **spec,
        },
    }


def planned(
    platform: str = "generic", gpus: int = 2, *, catalogue: Catalogue | None = None, **spec: Any
) -> Plan:
    """Plan such a deployment, with the profiles of the package or others."""
    installation = Installation("worker:test", catalogue=catalogue or builtin())
    return plan(accept(trtllm(platform, gpus, **spec)), installation)
