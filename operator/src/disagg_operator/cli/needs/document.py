"""What a deployment needs from its cluster, as a document. Pure.

What pods ask for is what preflight compares with the cluster, so that the two never disagree. Nodes are
counted only where the platform's profile says what one has.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.cli.needs.objects import named_objects
from disagg_operator.plan.model import Plan
from disagg_operator.platforms.prerequisites import provider_of
from disagg_operator.platforms.profile import FabricProfile, MachineProfile
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.preflight.needs import Needs, RoleNeeds, needs_of
from disagg_operator.reconcile.preflight.pod_security import BASELINE, PRIVILEGED, RESTRICTED
from disagg_operator.reconcile.preflight.wording import amount
from disagg_operator.sizing.nodes import Sharing, sharing

_OPERATOR = f"{API_VERSION} {KIND}"
"""What this operator itself provides."""
_UNKNOWN = "what is named so on the nodes"
_SEE = "kubectl describe nodes"


def needed(
    plan: Plan, manifests: Sequence[Object], machine: MachineProfile, fabrics: Sequence[FabricProfile]
) -> dict[str, Any]:
    """Return what a deployment needs from its cluster.

    Args:
        plan: the deployment's plan.
        manifests: all that the operator makes of it.
        machine: its platform.
        fabrics: the platform's fabrics.
    """
    needs = needs_of(plan)
    more = _surge(plan)
    return {
        "namespace": plan.namespace,
        "name": plan.name,
        "platform": machine.name,
        "nodes": _nodes(plan, needs, more, machine, fabrics),
        "pods": [_pods(role, more.get(role.role, 0)) for role in needs.roles],
        "podSecurity": _pod_security(needs),
        "components": list(_components(needs)),
        "objects": named_objects(manifests, needs),
        "guides": list(dict.fromkeys(fabric.guide for fabric in fabrics if fabric.guide)),
    }


def _surge(plan: Plan) -> Mapping[str, int]:
    """Return the pods that a rollout has beside those that are wanted, by role."""
    if plan.strategy != RolloutStrategy.SURGE:
        return {}
    limits = plan.rollout.limits
    # No more than all of the new revision can be there beside the old one.
    return {name: min(limits[name].surge, role.replicas) * role.nodes for name, role in plan.roles.items()}


def _nodes(
    plan: Plan,
    needs: Needs,
    more: Mapping[str, int],
    machine: MachineProfile,
    fabrics: Sequence[FabricProfile],
) -> dict[str, Any]:
    places, node = sharing(machine, fabrics), machine.gpus.count if machine.gpus else 0

    def count(extra: Mapping[str, int]) -> int | None:
        pods = {role.role: role.pods + extra.get(role.role, 0) for role in needs.workers}
        if any(role.alone for role in needs.workers):
            return sum(pods.values())
        if not node or not all(plan.roles[name].gpus for name in pods):
            return None
        together = [list(pods)] if needs.apart is None else [[name] for name in pods]
        return sum(_fewest(plan, {name: pods[name] for name in names}, places, node) for names in together)

    found, rolling = count({}), count(more)
    return {
        "gpus": None if machine.gpus is None else {"count": machine.gpus.count, "model": machine.gpus.model},
        "count": found,
        "moreInRollout": None if found is None or rolling is None else rolling - found,
        "rolesApart": needs.apart is not None,
        "sameValueOf": needs.together.topology_key if needs.together else None,
    }


def _fewest(plan: Plan, pods: Mapping[str, int], places: Sharing, gpus_of_node: int) -> int:
    """Return the fewest nodes that pods fit on, where those of one instance are on different nodes."""
    asked = [(plan.roles[name].gpus, count) for name, count in pods.items()]
    return max([places.nodes(asked, gpus_of_node), *(plan.roles[name].nodes for name in pods)])


def _pods(role: RoleNeeds, more: int) -> dict[str, Any]:
    return {
        "role": role.role,
        "count": role.pods,
        "moreInRollout": more,
        "each": {name: amount(name, number) for name, number in _sorted(role.requests)},
        "nodeLabels": [[str(each) for each in group] for group in role.labels if group],
    }


def _sorted(requests: Mapping[str, Decimal]) -> list[tuple[str, Decimal]]:
    """Return devices before CPU and memory, which any node has."""
    return sorted(requests.items(), key=lambda item: ("/" not in item[0], item[0]))


def _pod_security(needs: Needs) -> dict[str, Any]:
    """Return the strictest standard that a namespace may enforce, and what forbids a stricter one."""
    violated = {level for role in needs.roles for level in role.violations}
    level = PRIVILEGED if BASELINE in violated else BASELINE if RESTRICTED in violated else RESTRICTED
    stricter = {PRIVILEGED: BASELINE, BASELINE: RESTRICTED}.get(level)
    why = {
        role.role: list(role.violations[stricter])
        for role in needs.roles
        if stricter is not None and stricter in role.violations
    }
    return {"level": level, "because": why}


def _components(needs: Needs) -> Iterator[dict[str, Any]]:
    """Yield what must be installed, with what it provides."""
    labels = [
        each.key
        for role in needs.workers
        for group in role.labels
        for each in group
        if provider_of(each.key) is not None
    ]
    devices = [name for role in needs.roles for name in role.devices()]
    shared = [needs.together.topology_key] if needs.together else []
    kinds = [f"{kind.api_version} {kind.kind}" for kind in needs.asked]
    by_provider: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys((_OPERATOR, *devices, *labels, *shared, *kinds, *needs.device_classes)):
        provider = provider_of(name)
        found = by_provider.setdefault(
            name if provider is None else provider.name,
            {
                "name": _UNKNOWN if provider is None else provider.name,
                "provides": [],
                "install": _SEE if provider is None else provider.install,
                "shows": provider is None or provider.shows,
                "note": "" if provider is None else provider.note,
                "source": "" if provider is None else provider.source,
            },
        )
        found["provides"].append(name)
    yield from by_provider.values()
