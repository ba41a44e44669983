"""What follows from how workers are chosen: who tells the frontend of KV blocks, what is left to decode."""

from collections.abc import Mapping
from typing import Any

from disagg_operator.api.v1alpha1.runtime import RouterMode
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.plan.model import DECODE
from disagg_operator.platforms.vocabulary import OFF, ON

_WHOLE = 100


def routing_facts(spec: DisaggDeploymentSpec, role: str | None = None) -> Mapping[str, str]:
    """Return what conditions and templates of profiles may ask about routing.

    Decode tells of its blocks only where the router may leave it prompts, which it chooses by them.

    Args:
        spec: what the user asks for.
        role: prefill or decode; None for the frontend.
    """
    by_kv = spec.frontend.router_mode is RouterMode.KV
    leaves = router_leaves_prompts(spec)
    return {
        "kv_events": ON if by_kv and (role != DECODE or leaves) else OFF,
        "local_prefill": ON if leaves else OFF,
    }


def router_leaves_prompts(spec: DisaggDeploymentSpec) -> bool:
    """Tell whether the frontend's router may leave prompts to decode."""
    local = spec.local_prefill
    return local is not None and (local.prefix_hit is not None or local.prefill_load_percent is not None)


def short_prompt_tokens(spec: DisaggDeploymentSpec) -> int:
    """Return the length of the longest prompt that is left to decode whatever is cached; 0 if none is."""
    return (spec.local_prefill and spec.local_prefill.max_prompt_tokens) or 0


def conditional_disaggregation(spec: DisaggDeploymentSpec) -> Mapping[str, Any]:
    """Return Dynamo's settings for what `spec.localPrefill` says of its router.

    Dynamo compares with "less than": fewer new tokens than a threshold, and a smaller share of the prompt.
    (Dynamo 1.5.1 and 1.6.1: --router-conditional-disagg-config; lib/kv-router/src/conditional_disagg.rs.)
    """
    local = spec.local_prefill
    hit = local.prefix_hit if local else None
    load = local.prefill_load_percent if local else None
    settings: dict[str, Any] = {"policy": "prefill_load"}
    if hit is not None:
        settings = {
            "policy": "isl_bounding" if load is None else "isl_or_load",
            "eff_isl_threshold": hit.max_new_tokens + 1,
            "eff_isl_ratio_threshold": (_WHOLE - (hit.min_percent or 0)) / _WHOLE,
        }
    if load is not None:
        settings["prefill_busy_threshold"] = load / _WHOLE
    return settings
