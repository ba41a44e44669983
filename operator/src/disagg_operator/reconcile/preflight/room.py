"""Checks of all nodes together: is there room for all pods at once, where they must share or avoid nodes?"""

from collections.abc import Sequence
from decimal import Decimal

from disagg_operator.api.wording import counted
from disagg_operator.plan.model import TogetherPlan
from disagg_operator.reconcile.preflight.fault import Check, Domains, Fault
from disagg_operator.reconcile.preflight.needs import Needs, RoleNeeds
from disagg_operator.reconcile.preflight.obstacles import Candidate, Candidates
from disagg_operator.reconcile.preflight.snapshot import Node
from disagg_operator.reconcile.preflight.wording import amount, listed, remedy, some

_CAPACITY = "https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/"


def together(needs: Needs, candidates: Candidates) -> tuple[list[Fault], Domains | None]:
    """Return why the pods do not all fit at once, where each of them would alone, and where they might not.

    Args:
        needs: what the deployment asks for.
        candidates: the nodes with the right labels, for each role.
    """
    found = {role: [each for each in all_ if each.room] for role, all_ in candidates.items()}
    short = next((text for role in needs.roles if (text := _too_many(role, found))), None)
    short = short or _shortage(needs, found)
    if short is not None:
        where = needs.apart.source if needs.apart else _CAPACITY
        message = f"{short}.{_not_counted(needs, candidates)} Add nodes, or lower the replicas"
        return [Fault(Check.TOO_FEW_NODES, message, where)], None
    split = [fault for role in needs.workers if (fault := _split(role, found[role.role]))]
    if split or needs.together is None:
        return split, None
    return _in_one_domain(needs, needs.together, found)


def remarks(needs: Needs, candidates: Candidates) -> list[str]:
    """Say which devices a pod leaves unused that has a node for itself, and where instances may get stuck."""
    found = []
    for role in needs.workers:
        alone = [each.node.offer.allocatable for each in candidates[role.role] if each.room == 1]
        for name in role.guessed:
            most = max((offered.get(name, Decimal(0)) for offered in alone), default=Decimal(0))
            if most > role.requests.get(name, most):
                found.append(
                    f"Each of the {role.role} pods has a node for itself and asks for {name} "
                    f"{amount(name, role.requests[name])} of {amount(name, most)}. To use all, write "
                    f"spec.{role.role}.devices: {{{name}: {amount(name, most)}}}."
                )
    cramped = (
        _cramped(role, [each for each in candidates[role.role] if each.room]) for role in needs.workers
    )
    return [*found, *(text for text in cramped if text)]


def _shortage(needs: Needs, found: Candidates) -> str | None:
    """Say what the workers lack on these nodes, or None where nothing is known to be lacking."""
    workers = needs.workers
    for role in workers:
        if text := _too_many(role, found):
            return text
    nodes = {each.node.name: each.node for role in workers for each in found[role.role]}
    if needs.apart or all(role.alone for role in workers):
        fewest = {role.role: _fewest(role, found[role.role]) for role in workers}
        if sum(fewest.values()) > len(nodes):
            each = " and ".join(f"{count} for {role}" for role, count in fewest.items())
            why = needs.apart.reason if needs.apart else "A node has one channel of its NVLink domain."
            least = sum(fewest.values())
            return (
                f"The workers need {counted(least, 'node')} ({each}), and {len(nodes)} fit. {why.rstrip('.')}"
            )
    for name in {name: None for role in workers for name in role.requests}:
        wanted = sum((role.pods * role.requests.get(name, Decimal(0)) for role in workers), Decimal(0))
        offered = sum((node.offer.allocatable.get(name, Decimal(0)) for node in nodes.values()), Decimal(0))
        if wanted > offered:
            return (
                f"The workers ask for {name} {amount(name, wanted)} in all, and there is "
                f"{amount(name, offered)} on the {counted(len(nodes), 'node')} that would do"
            )
    return None


def _too_many(role: RoleNeeds, found: Candidates) -> str | None:
    room = sum(each.room for each in found[role.role])
    if room >= role.pods:
        return None
    nodes, pods = counted(len(found[role.role]), "node"), counted(role.pods, f"{role.role} pod")
    return f"The deployment has {pods}, and there is room for {room} on the {nodes} that would do"


def _fewest(role: RoleNeeds, found: Sequence[Candidate]) -> int:
    """Return the least number of nodes that hold all pods of a role."""
    left = role.pods
    rooms = sorted((each.room for each in found), reverse=True)
    for count, room in enumerate(rooms):
        if left <= 0:
            return count
        left -= room
    return len(rooms)


def _in_one_domain(
    needs: Needs, shared: TogetherPlan, found: Candidates
) -> tuple[list[Fault], Domains | None]:
    """Return why no one value of the label that workers share has room for all of them, or which have."""
    key, why = shared.topology_key, shared.provenance
    within = _by_value(needs, key, found)
    if not within:
        nodes = {each.node.name: each.node for role in needs.workers for each in found[role.role]}
        text = (
            f"All workers share one value of the node label {key}, and none of their nodes has that label "
            f"({listed(nodes.values())}). {why.reason} {remedy(key)}"
        )
        return [Fault(Check.NO_LARGE_DOMAIN, text, why.source)], None
    lacking = {value: lack for value, inside in within.items() if (lack := _shortage(needs, inside))}
    roomy = tuple(sorted(within.keys() - lacking.keys()))
    if roomy:
        return [], Domains(key, roomy, tuple(sorted(lacking))) if lacking else None
    best = max(lacking, key=lambda value: (sum(map(len, within[value].values())), value))
    text = (
        f"All workers share one value of the node label {key}, and none has room for all. {why.reason} The "
        f"largest is {best}: {lacking[best][0].lower()}{lacking[best][1:]}. Lower the replicas, add nodes "
        "there, or write another spec.placement.topologyKey"
    )
    return [Fault(Check.NO_LARGE_DOMAIN, text, why.source)], None


def _split(role: RoleNeeds, found: Sequence[Candidate]) -> Fault | None:
    """Return why the instances of a role would not each be in one value of the label that they share."""
    if role.grouping is None:
        return None
    shared, nodes, room = role.grouping.together, role.grouping.nodes, _instances_by_value(role, found)
    wanted, there = role.pods // nodes, sum(room.values())
    if there >= wanted:
        return None
    text = (
        f"The {nodes} pods of each {role.role} instance share one value of the node label "
        f"{shared.topology_key}, and its {counted(len(room), 'value')} can hold {there} of "
        f"{counted(wanted, 'instance')}. "
        f"{shared.provenance.reason} Lower the replicas, add nodes, or write another "
        "spec.placement.group.topologyKey"
    )
    return Fault(Check.NO_LARGE_DOMAIN, text, shared.provenance.source)


def _cramped(role: RoleNeeds, found: Sequence[Candidate]) -> str | None:
    """Say where a first pod of an instance may go and the rest has no room."""
    room = _instances_by_value(role, found)
    cramped = sorted(value for value, count in room.items() if not count)
    if role.grouping is None or not cramped or len(cramped) == len(room):
        return None
    key = role.grouping.together.topology_key
    return (
        f"The pods of each {role.role} instance share one value of the node label {key}, and {some(cramped)} "
        "has no room for an instance. A scheduler that places pod by pod may put the first one there, and "
        "the rest waits. Write spec.placement.nodeSelector, or see docs/pod-groups.md."
    )


def _instances_by_value(role: RoleNeeds, found: Sequence[Candidate]) -> dict[str, int]:
    """Return how many instances of a role fit in each value of the label that their pods share."""
    if role.grouping is None:
        return {}
    key, rooms = role.grouping.together.topology_key, dict[str, list[int]]()
    for each in found:
        if key in each.node.labels:
            rooms.setdefault(each.node.labels[key], []).append(each.room)
    nodes, spread = role.grouping.nodes, role.instances is not None
    return {
        value: _instances(inside, nodes) if spread else sum(inside) // nodes
        for value, inside in rooms.items()
    }


def _instances(rooms: Sequence[int], nodes: int) -> int:
    """Return how many instances of so many pods, each on another node, fit on nodes with these rooms."""
    count = 0
    while sum(min(room, count + 1) for room in rooms) >= (count + 1) * nodes:
        count += 1
    return count


def _by_value(needs: Needs, key: str, found: Candidates) -> dict[str, dict[str, list[Candidate]]]:
    """Return the candidates of each role by the value of a label of their nodes."""
    within: dict[str, dict[str, list[Candidate]]] = {}
    for role in needs.workers:
        for each in found[role.role]:
            if key in each.node.labels:
                value = within.setdefault(each.node.labels[key], {other.role: [] for other in needs.workers})
                value[role.role].append(each)
    return within


def _not_counted(needs: Needs, candidates: Candidates) -> str:
    """Name the nodes that would count but for one thing that can be mended."""
    found: dict[str, dict[str, Node]] = {}
    for role in needs.workers:
        for each in candidates[role.role]:
            if len(each.obstacles) == 1:
                found.setdefault(each.obstacles[0].text, {})[each.node.name] = each.node
    parts = [f"{text}: {listed(where.values())}" for text, where in found.items()]
    return f" Not counted: {'; '.join(parts)}." if parts else ""
