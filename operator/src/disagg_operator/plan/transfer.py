"""How KV cache moves: the library and its plugin, from what the user, the release and the fabric say."""

from collections.abc import Iterable

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.role import TransferMethod, TransferSpec
from disagg_operator.plan.facts import Facts, applicable, first, provenance
from disagg_operator.plan.hardware import Platform
from disagg_operator.plan.model import Provenance, TransferPlan
from disagg_operator.platforms.profile import Choice

_METHOD = "spec.transfer.method"
_BACKEND = "spec.transfer.nixlBackend"


def transfer_plan(transfer: TransferSpec, platform: Platform, facts: Facts) -> TransferPlan:
    """Return how KV cache moves.

    Args:
        transfer: what the user writes.
        platform: the profiles.
        facts: facts that both roles share.

    Raises:
        Refusal: the release or the fabric has no such library or plugin.
    """
    offered = applicable(platform.release.methods, facts)
    if transfer.method is None:
        # A plugin of NIXL says that NIXL is meant.
        nixl_meant = transfer.nixl_backend is not None
        default = _of(offered, TransferMethod.NIXL) if nixl_meant else first(offered, facts)
        if default is None:
            raise Refusal([_unknown(_METHOD, "NIXL", offered, "transfer-method-known")])
        method, why = default.value, provenance(default)
    else:
        found = _of(offered, transfer.method)
        if found is None:
            raise Refusal([_unknown(_METHOD, transfer.method, offered, "transfer-method-known")])
        method, why = found.value, Provenance("Set by the user.", _METHOD)
    if method != TransferMethod.NIXL:
        return TransferPlan(method, None, why)
    return TransferPlan(method, _nixl_backend(transfer, platform, {**facts, "method": method}), why)


def _nixl_backend(transfer: TransferSpec, platform: Platform, facts: Facts) -> str:
    offered = applicable(platform.fabrics[0].nixl_backends, facts)
    if transfer.nixl_backend is None:
        return offered[0].value
    if _of(offered, transfer.nixl_backend) is None:
        raise Refusal([_unknown(_BACKEND, transfer.nixl_backend, offered, "nixl-backend-known")])
    return transfer.nixl_backend.value


def _of(offered: Iterable[Choice], value: str) -> Choice | None:
    return next((choice for choice in offered if choice.value == value), None)


def _unknown(field: str, given: str, offered: Iterable[Choice], rule: str) -> Problem:
    known = " or ".join(choice.value for choice in offered)
    return Problem(field, f"{given} cannot be used on this platform by this engine", f"Write {known}", rule)
