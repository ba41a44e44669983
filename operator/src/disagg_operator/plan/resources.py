"""CPU and memory of containers, in the shape of Kubernetes' resource requirements."""

import re
from typing import Any

from disagg_operator.api.v1alpha1.base import ResourceRequirements
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import Provenance
from disagg_operator.platforms.profile import MachineProfile, PodResources

_WHOLE = re.compile(r"^([0-9]+)([a-zA-Z]*)$")


def requirements(
    by_user: ResourceRequirements | None, default: PodResources, path: str
) -> tuple[dict[str, Any], Provenance]:
    """Return what the user writes, or else the default, and why; empty sections are left out.

    Args:
        by_user: what the user writes.
        default: what the platform says.
        path: path of the user's field.
    """
    chosen = default if by_user is None else by_user
    described = {"requests": dict(chosen.requests), "limits": dict(chosen.limits)}
    why = provenance(default) if by_user is None else Provenance("Set by the user.", path)
    return {key: value for key, value in described.items() if value}, why


def worker_resources(
    by_user: ResourceRequirements | None, machine: MachineProfile, gpus: int, path: str
) -> tuple[dict[str, Any], Provenance | None]:
    """Return what a worker gets, and why; a machine may say nothing of workers with GPUs.

    Args:
        by_user: what the user writes.
        machine: the profile.
        gpus: GPUs of the pod.
        path: path of the user's field.
    """
    if by_user is not None or not gpus:
        return requirements(by_user, machine.worker_resources, path)
    per_gpu = machine.gpu_worker_resources
    return ({}, None) if per_gpu is None else requirements(None, _of_gpus(per_gpu, gpus), path)


def _of_gpus(resources: PodResources, gpus: int) -> PodResources:
    return resources.model_copy(
        update={
            "requests": {name: _times(quantity, gpus) for name, quantity in resources.requests.items()},
            "limits": {name: _times(quantity, gpus) for name, quantity in resources.limits.items()},
        }
    )


def _times(quantity: str, factor: int) -> str:
    match = _WHOLE.match(quantity)
    if match is None:
        raise ValueError(f"a profile's quantity for each GPU is no whole number: {quantity!r}")
    number, suffix = match.groups()
    return f"{int(number) * factor}{suffix}"
