"""How KV cache moves: the library and its plugin, from what the user, the release and the fabric say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.role import TransferMethod, TransferSpec
from disagg_operator.plan.facts import Facts, applicable, provenance
from disagg_operator.plan.hardware import ARCHITECTURE_LABEL
from disagg_operator.plan.model import Provenance, TransferPlan
from disagg_operator.plan.platform import Platform
from disagg_operator.platforms.profile import Choice
from disagg_operator.platforms.vocabulary import ANY_ARCHITECTURE

_METHOD = "spec.transfer.method"
_BACKEND = "spec.transfer.nixlBackend"


@dataclass(frozen=True)
class _Asked:
    """A library or plugin that is asked for, the rule that judges it, and where it cannot be used."""

    field: str
    value: str
    rule: str
    where: str


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
            where = f" by this release of the engine, {release.version}"
            wanted = _Asked(_METHOD, asked.value, "transfer-method-known", where)
            raise Refusal([_unavailable(wanted, release.methods, facts)])
        method, why = asked.value, Provenance("Set by the user.", _BACKEND if nixl_meant else _METHOD)
    if method != TransferMethod.NIXL:
        return TransferPlan(method, None, why)
    backend = _nixl_backend(transfer, platform, {**facts, "method": method})
    by_user = Provenance("Set by the user.", _BACKEND)
    why_backend = provenance(backend) if transfer.nixl_backend is None else by_user
    simulated = release.simulated is not None
    return TransferPlan(method, backend.value, why, why_backend, simulated=simulated)


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
        fabric = platform.fabrics[0]
        theirs = _listed(fabric.nixl_backends)
        ours = _listed(platform.release.nixl_backends)
        where = f": {fabric.name} works with {theirs}{f', and this release with {ours}' if ours else ''}"
        wanted = _Asked(_BACKEND, given, "nixl-backend-known", where)
        raise Refusal([_unavailable(wanted, known, facts)])
    return usable[0]


def _listed(choices: Iterable[Choice]) -> str:
    return " and ".join(dict.fromkeys(each.value for each in choices))


def _of(offered: Iterable[Choice], value: str) -> Choice | None:
    return next((choice for choice in offered if choice.value == value), None)


def _unavailable(asked: _Asked, known: Sequence[Choice], facts: Facts) -> Problem:
    fault = f"{asked.value} cannot be used{asked.where}"
    more = ""
    excluded = _of(known, asked.value)
    if excluded is not None:
        needs = [
            f"{name} {' or '.join(allowed)} (here: {facts[name]})"
            for name, allowed in excluded.when.items()
            if facts[name] not in allowed
        ]
        fault = f"{asked.value} needs {', '.join(needs)}: {excluded.reason}"
        if facts["architecture"] == ANY_ARCHITECTURE and "architecture" in excluded.when:
            selector = f"{{{ARCHITECTURE_LABEL}: {excluded.when['architecture'][0]}}}"
            more = f", or say where workers run: spec.placement.nodeSelector: {selector}"
    usable = " or ".join(dict.fromkeys(choice.value for choice in applicable(known, facts)))
    return Problem(asked.field, fault, f"Write {usable}{more}", asked.rule)
