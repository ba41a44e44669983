"""How much privilege workers have: the least that their fabrics need, or what the user asks for."""

from collections.abc import Iterable

from disagg_operator.api.v1alpha1.operations import SecurityMode
from disagg_operator.plan.facts import Facts, applicable, first, provenance
from disagg_operator.plan.model import Provenance, SecurityPlan
from disagg_operator.plan.platform import Platform
from disagg_operator.platforms.profile import Security

_UNPRIVILEGED = Provenance("The user asks for this security context.", "spec.security.mode")


def security(platform: Platform, facts: Facts, mode: SecurityMode) -> SecurityPlan:
    """Return the security context of the workers of a role.

    Args:
        platform: the profiles.
        facts: facts of the role, without its security.
        mode: what the user asks for.
    """
    offered = [each for fabric in platform.fabrics for each in applicable(fabric.security, facts)]
    chosen = _strongest(platform, facts) if mode is SecurityMode.PLATFORM else _of_mode(offered, mode)
    own_user = platform.release.own_user
    if chosen is None:
        return SecurityPlan(mode.value, _capabilities(mode), own_user, _UNPRIVILEGED)
    return SecurityPlan(chosen.mode, chosen.capabilities, own_user, provenance(chosen))


def _strongest(platform: Platform, facts: Facts) -> Security | None:
    """Return the default that asks for most: a pod on two fabrics needs what either needs."""
    order = ["Restricted", "IpcLock", "Privileged"]
    defaults = [found for fabric in platform.fabrics if (found := first(fabric.security, facts))]
    return max(defaults, key=lambda each: order.index(each.mode), default=None)


def _of_mode(offered: Iterable[Security], mode: SecurityMode) -> Security | None:
    return next((each for each in offered if each.mode == mode.value), None)


def _capabilities(mode: SecurityMode) -> tuple[str, ...]:
    return ("IPC_LOCK",) if mode is SecurityMode.IPC_LOCK else ()
