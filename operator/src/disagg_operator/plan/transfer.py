"""How KV cache moves: the library and its plugin, from what the user, the release and the fabric say."""

from collections.abc import Iterable, Sequence

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.role import TransferMethod, TransferSpec
from disagg_operator.plan.facts import Facts, applicable, provenance
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
    release = platform.release
    offered = applicable(release.methods, facts)
    # A plugin of NIXL says that NIXL is meant.
    nixl_meant = transfer.method is None and transfer.nixl_backend is not None
    asked = TransferMethod.NIXL if nixl_meant else transfer.method
    if asked is None:
        default = offered[0]
        method, why = default.value, provenance(default)
    else:
        if _of(offered, asked) is None:
            raise Refusal([_unavailable(_METHOD, asked, release.methods, facts, "transfer-method-known")])
        method, why = asked.value, Provenance("Set by the user.", _BACKEND if nixl_meant else _METHOD)
    if method != TransferMethod.NIXL:
        return TransferPlan(method, None, why)
    backend = _nixl_backend(transfer, platform, {**facts, "method": method})
    by_user = Provenance("Set by the user.", _BACKEND)
    why_backend = provenance(backend) if transfer.nixl_backend is None else by_user
    return TransferPlan(method, backend.value, why, why_backend)


def _nixl_backend(transfer: TransferSpec, platform: Platform, facts: Facts) -> Choice:
    loadable = {choice.value for choice in applicable(platform.release.nixl_backends, facts)}
    known = [
        choice
        for choice in platform.fabrics[0].nixl_backends
        if not platform.release.nixl_backends or choice.value in loadable
    ]
    asked = transfer.nixl_backend
    usable = [choice for choice in applicable(known, facts) if asked in (None, choice.value)]
    if not usable:
        given = "NIXL" if asked is None else asked.value
        raise Refusal([_unavailable(_BACKEND, given, known, facts, "nixl-backend-known")])
    return usable[0]


def _of(offered: Iterable[Choice], value: str) -> Choice | None:
    return next((choice for choice in offered if choice.value == value), None)


def _unavailable(field: str, given: str, known: Sequence[Choice], facts: Facts, rule: str) -> Problem:
    fault = f"{given} cannot be used on this platform by this version of the engine"
    excluded = _of(known, given)
    if excluded is not None:
        needs = [
            f"{name} {' or '.join(allowed)} (here: {facts[name]})"
            for name, allowed in excluded.when.items()
            if facts[name] not in allowed
        ]
        fault = f"{given} needs {', '.join(needs)}: {excluded.reason}"
    usable = " or ".join(choice.value for choice in applicable(known, facts))
    return Problem(field, fault, f"Write {usable}", rule)
