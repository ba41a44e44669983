"""Checks of single nodes: is there one on which a pod of each role would run, were it empty?"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from disagg_operator.plan.model import Provenance
from disagg_operator.reconcile.preflight.fault import Check, Fault
from disagg_operator.reconcile.preflight.needs import Needs, Requirement, RoleNeeds
from disagg_operator.reconcile.preflight.obstacles import CORDONED, Candidate, Candidates, Obstacle
from disagg_operator.reconcile.preflight.snapshot import Node, Taint
from disagg_operator.reconcile.preflight.wording import (
    LABELS,
    amount,
    capitalised,
    enough,
    listed,
    pods_of,
    remedy,
    some,
    source,
)

_NODES = "https://kubernetes.io/docs/concepts/architecture/nodes/"
_TAINTS = "https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"
_DEVICES = "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/"
_RESOURCES = "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"
_BY_GPUS = "spec.*.gpusPerNode"
_MOST_VALUES = 5
_PODS = "<pods>"
"""Stands in a sentence where the roles are put in whose pods it is about."""


def faults(needs: Needs, nodes: Sequence[Node], found: Candidates) -> list[Fault]:
    """Return why no node could take a pod, for each role of which that is so; equal faults are made one.

    Args:
        needs: what the deployment asks for.
        nodes: all nodes.
        found: the nodes with the right labels, for each role.
    """
    if not nodes:
        message = "The cluster has no nodes. Add some. See: kubectl get nodes"
        return [Fault(Check.NO_NODES, message, _NODES)]
    roles: dict[tuple[Check, str, str], list[str]] = {}
    for role in needs.roles:
        for check, text, where in _of_role(role, nodes, found[role.role]):
            roles.setdefault((check, text, where), []).append(role.role)
    return [
        Fault(check, capitalised(text.replace(_PODS, pods_of(names))), where)
        for (check, text, where), names in roles.items()
    ]


def _of_role(
    role: RoleNeeds, nodes: Sequence[Node], found: Sequence[Candidate]
) -> Iterator[tuple[Check, str, str]]:
    if not found:
        yield _no_match(role, nodes)
        return
    fewest = min(len(each.obstacles) for each in found)
    if not fewest:
        return
    # What keeps pods off the nodes that come closest: a node without GPUs is no news where others have them.
    closest = [each for each in found if len(each.obstacles) == fewest]
    by_obstacle: dict[Obstacle, list[Node]] = {}
    for each in closest:
        for obstacle in each.obstacles:
            by_obstacle.setdefault(obstacle, []).append(each.node)
    missing = [each for each in by_obstacle if each.check is Check.DEVICE_MISSING]
    others = [each for each in by_obstacle if each.check is not Check.DEVICE_MISSING]
    yield from (_fault(role, each, by_obstacle[each], closest) for each in _one_a_resource(others))
    # Of one resource, a node that has too few says more than one that has none.
    few = {each.name for each in others}
    yield from _missing(role, [each.name for each in missing if each.name not in few], by_obstacle)


def _one_a_resource(found: Sequence[Obstacle]) -> Iterator[Obstacle]:
    """Yield the obstacles, of those about one resource just the first: nodes have too few in many numbers."""
    told: set[str] = set()
    for obstacle in found:
        if obstacle.name not in told:
            yield obstacle
        told |= {obstacle.name} - {""}


def _missing(
    role: RoleNeeds, names: Sequence[str], by_obstacle: Mapping[Obstacle, Sequence[Node]]
) -> Iterator[tuple[Check, str, str]]:
    """Yield a fault for each component that is to provide devices; some provide a dozen."""
    where = {
        obstacle.name: listed(found) for obstacle, found in by_obstacle.items() if obstacle.name in names
    }
    together: dict[tuple[str, str], list[str]] = {}
    for name in names:
        together.setdefault((remedy(name), where[name]), []).append(name)
    for (run, on), group in together.items():
        it = "it" if len(group) == 1 else "them"
        text = f"{_PODS} ask for {some(group)}, and none of their nodes offers {it} ({on}). {run}"
        yield Check.DEVICE_MISSING, text, source(group[0], _reason(role, group[0], _DEVICES))


def _fault(
    role: RoleNeeds, obstacle: Obstacle, where: Sequence[Node], closest: Sequence[Candidate]
) -> tuple[Check, str, str]:
    if obstacle.taint is not None:
        return obstacle.check, _taint_text(obstacle.taint, where), _TAINTS
    if obstacle.check is Check.NODES_UNAVAILABLE:
        return obstacle.check, _unavailable_text(obstacle, where), _NODES
    most = max(each.node.offer.allocatable.get(obstacle.name, Decimal(0)) for each in closest)
    otherwise = _DEVICES if obstacle.check is Check.DEVICE_COUNT_TOO_HIGH else _RESOURCES
    return obstacle.check, _too_much_text(role, obstacle, most), _reason(role, obstacle.name, otherwise)


def _no_match(role: RoleNeeds, nodes: Sequence[Node]) -> tuple[Check, str, str]:
    wanted = role.labels[0]
    nowhere = [each for each in wanted if not any(each.holds(node.labels) for node in nodes)]
    missing = nowhere or list(wanted)
    key = missing[0].key
    together = " together" if not nowhere and len(wanted) > 1 else ""
    text = (
        f"{_PODS} need a node with {_all_of(missing)}, and no node has that{together}"
        f"{_values(key, nodes)}. Add such nodes, or change spec.platform or spec.placement. "
        f"See: kubectl get nodes -L {key}"
    )
    return Check.NO_MATCHING_NODE, text, _reason(role, key, LABELS)


def _all_of(requirements: Sequence[Requirement]) -> str:
    return " and ".join(str(each) for each in requirements)


def _values(key: str, nodes: Sequence[Node]) -> str:
    values = sorted({node.labels[key] for node in nodes if key in node.labels})
    if not values:
        return f" (none has the label {key})"
    shown = ", ".join(values[:_MOST_VALUES])
    return f" (there is {shown}{', …' if len(values) > _MOST_VALUES else ''})"


def _unavailable_text(obstacle: Obstacle, where: Sequence[Node]) -> str:
    first = min(node.name for node in where)
    run = f"Run: kubectl uncordon {first}" if obstacle == CORDONED else f"See: kubectl describe node {first}"
    return f"The only nodes for {_PODS} are {obstacle.text}: {listed(where)}. {run}"


def _taint_text(taint: Taint, where: Sequence[Node]) -> str:
    match = f"operator: Equal, value: {taint.value}" if taint.value else "operator: Exists"
    toleration = f"{{key: {taint.key}, {match}, effect: {taint.effect}}}"
    return (
        f"{_PODS} do not tolerate the taint {taint} of {listed(where)}. Add to spec.placement.tolerations: "
        f"{toleration}"
    )


def _too_much_text(role: RoleNeeds, obstacle: Obstacle, most: Decimal) -> str:
    name, wanted = obstacle.name, role.requests[obstacle.name]
    asked = f"Each of the {_PODS} asks for {name} {amount(name, wanted)}{_of_agent(role, name)}, and no node "
    offered = f"offers more than {amount(name, most)}. "
    if obstacle.check is Check.RESOURCES_TOO_LARGE or name.startswith("hugepages-"):
        least = f"{name} {enough(name, wanted - most)}"
        return f"{asked}{offered}Lower spec.{role.role}.resources by {least} at least, or add larger nodes"
    if _reason(role, name, "").startswith(_BY_GPUS):
        return (
            f"{asked}{offered}Write spec.{role.role}.gpusPerNode: {amount(name, most)} or less, with a "
            "parallelism and nodesPerReplica that fit"
        )
    return (
        f"{asked}{offered}Write spec.{role.role}.devices: {{{name}: {amount(name, most)}}}, or give the "
        "nodes as many as their machine has (on AWS, the launch template decides)"
    )


def _of_agent(role: RoleNeeds, name: str) -> str:
    """Say how much of what is asked for is not written in the specification."""
    agent = role.agents.get(name)
    if agent is None:
        return ""
    rest = role.requests[name] - agent
    return f" ({amount(name, rest)} and {amount(name, agent)} of the transport agent beside its engine)"


def _reason(role: RoleNeeds, name: str, otherwise: str) -> str:
    reason: Provenance | None = role.reasons.get(name)
    return otherwise if reason is None else reason.source
