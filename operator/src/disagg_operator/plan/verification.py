"""What is verified of a deployment: what its platform promises, and how that is measured."""

from collections.abc import Iterable, Mapping

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.excluded import excluding
from disagg_operator.plan.facts import applicable, provenance
from disagg_operator.plan.hardware import fabric_devices
from disagg_operator.plan.model import PREFILL, PromisedTransport, RolePlan, VerificationPlan
from disagg_operator.plan.routing import short_prompt_tokens
from disagg_operator.platforms.vocabulary import NO_BACKEND

USUAL_PROMPT_TOKENS = 512
"""Length of a canary of which nobody says anything."""
_BEYOND_TOKENS = 64


def promised_transports(basis: Basis) -> tuple[PromisedTransport, ...]:
    """Return the transports that the fabrics promise, best first; none where anything will do."""
    transfer = basis.transfer
    facts = {**basis.facts, "method": transfer.method, "backend": transfer.nixl_backend or NO_BACKEND}
    found = {
        each.value: PromisedTransport(each.value, provenance(each))
        for fabric in basis.platform.fabrics
        for each in applicable(fabric.promises, facts)
    }
    return tuple(found.values())


def verification_plan(
    basis: Basis, roles: Mapping[str, RolePlan], promised: Iterable[PromisedTransport]
) -> VerificationPlan | None:
    """Return how a deployment is verified, or None where it is not.

    Args:
        basis: what its pods have in common.
        roles: its workers.
        promised: what its fabrics promise.
    """
    asked = basis.spec.verification
    if not basis.measured:
        return None
    transports = frozenset(each.transport for each in promised)
    return VerificationPlan(
        mode=asked.mode.value,
        interval_seconds=asked.interval_seconds,
        canary=asked.canary is not False,
        prompt_tokens=_prompt_tokens(basis),
        least_tokens=short_prompt_tokens(basis.spec) + 1,
        kv_bytes_per_token=asked.kv_bytes_per_token,
        kv_dtype=_kv_dtype(roles[PREFILL]),
        model=basis.spec.model.name,
        promises={name: _promise(basis, role, transports) for name, role in roles.items()},
    )


def _prompt_tokens(basis: Basis) -> int | None:
    """Return the length of the canary, whose KV cache has to move: prefill must not leave it to decode."""
    asked, short = basis.spec.verification.prompt_tokens, short_prompt_tokens(basis.spec)
    if asked is not None or short < USUAL_PROMPT_TOKENS:
        return asked
    return short + _BEYOND_TOKENS


def _promise(basis: Basis, role: RolePlan, transports: frozenset[Transport]) -> Promise:
    devices = fabric_devices(basis.platform, role.pod.devices)
    found = excluding(role, transports)
    return Promise(
        transports=transports,
        method=basis.transfer.method,
        backend=basis.transfer.nixl_backend or "",
        devices=devices,
        gpus=role.gpus,
        rails=0 < role.gpus <= devices,
        minimum_gbps=basis.spec.verification.minimum_gbps,
        excluded_by="" if found is None else f"{found.provenance.source} sets {found.name}={found.value}",
    )


def _kv_dtype(role: RolePlan) -> str:
    """Return the data type of the KV cache as the engine is told; nothing for the model's own."""
    # TensorRT-LLM's spelling, then that of vLLM and SGLang.
    cache = role.engine_config.get("kv_cache_config")
    written = cache.get("dtype") if isinstance(cache, Mapping) else role.engine_config.get("kv-cache-dtype")
    return written if isinstance(written, str) and written != "auto" else ""
