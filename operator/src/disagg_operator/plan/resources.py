"""CPU and memory of containers, in the shape of Kubernetes' resource requirements."""

import re
from typing import Any

from disagg_operator.api.v1alpha1.base import ResourceRequirements
from disagg_operator.platforms.profile import PodResources

_WHOLE = re.compile(r"^([0-9]+)([a-zA-Z]*)$")


def requirements(by_user: ResourceRequirements | None, default: PodResources) -> dict[str, Any]:
    """Return what the user writes, or else the default; the sections that are empty are left out."""
    chosen = default if by_user is None else by_user
    described = {"requests": dict(chosen.requests), "limits": dict(chosen.limits)}
    return {key: value for key, value in described.items() if value}


def times(resources: PodResources, factor: int) -> PodResources:
    """Return the resources of ``factor`` GPUs from those of one, whose quantities are whole numbers."""
    return resources.model_copy(
        update={
            "requests": {name: _times(quantity, factor) for name, quantity in resources.requests.items()},
            "limits": {name: _times(quantity, factor) for name, quantity in resources.limits.items()},
        }
    )


def _times(quantity: str, factor: int) -> str:
    match = _WHOLE.match(quantity)
    if match is None:
        raise ValueError(f"a profile's quantity for each GPU is no whole number: {quantity!r}")
    number, suffix = match.groups()
    return f"{int(number) * factor}{suffix}"
