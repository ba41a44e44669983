"""What a deployment needs from its cluster, as a document and as tables, from its plan alone. Pure.

What pods ask for is what preflight compares with the cluster, so that the two never disagree. Nodes are
counted only where the platform's profile says what one has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.api.wording import counted
from disagg_operator.plan.model import Plan
from disagg_operator.plan.names import DOWNLOAD, LABEL_COMPONENT
from disagg_operator.platforms.prerequisites import provider_of
from disagg_operator.platforms.profile import FabricProfile, MachineProfile
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.preflight.needs import Needs, RoleNeeds, needs_of
from disagg_operator.reconcile.preflight.pod_security import BASELINE, PRIVILEGED, RESTRICTED
from disagg_operator.reconcile.preflight.snapshot import ENFORCE
from disagg_operator.reconcile.preflight.wording import amount
from disagg_operator.sizing.nodes import Sharing, sharing

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and rows."""
Pair = tuple[str, str]
"""Kind and name of an object."""

_OPERATOR = f"{API_VERSION} {KIND}"
"""What this operator itself provides."""
_UNKNOWN = "what is named so on the nodes"
_SEE = "kubectl describe nodes"
_VOLUME = "PersistentVolumeClaim"
_SHARED = "ReadWriteMany"
_READ = "ReadOnlyMany"


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
        "objects": _objects(manifests, needs),
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


@dataclass
class _Use:
    """How pods use an object: who does, keys of it that they read, and whether any writes."""

    by: dict[str, None] = field(default_factory=dict)
    keys: dict[str, None] = field(default_factory=dict)
    written: bool = False


def _objects(manifests: Sequence[Object], needs: Needs) -> list[dict[str, Any]]:
    """Return the objects that pods name and nobody makes for them."""
    made = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    used: dict[Pair, _Use] = {}
    for manifest in manifests:
        pod = manifest.get("spec", {}).get("template", {}).get("spec")
        by = manifest["metadata"].get("labels", {}).get(LABEL_COMPONENT, manifest["kind"])
        for reference, keys in _references(pod) if pod else ():
            if reference not in made:
                use = used.setdefault(reference, _Use())
                use.by[by] = None
                use.keys.update(dict.fromkeys(keys))
                use.written = use.written or _writes(pod, reference)
    for claim, roles in needs.claims.items():
        used.setdefault((claim.kind.kind, claim.name), _Use()).by.update(dict.fromkeys(roles))
    pods = {role.role: role.pods for role in needs.roles}
    return [_object(reference, used[reference], pods) for reference in sorted(used)]


def _object(reference: Pair, use: _Use, pods: Mapping[str, int]) -> dict[str, Any]:
    kind, name = reference
    found = {"kind": kind, "name": name, "usedBy": list(use.by), "keys": list(use.keys)}
    if kind != _VOLUME:
        return found
    # A Job has one pod.
    count = sum(pods.get(by, 1) for by in use.by)
    modes = [_SHARED] if use.written else [_SHARED, _READ]
    return {**found, "pods": count, "accessModes": modes if count > 1 else []}


def _writes(pod: Object, reference: Pair) -> bool:
    """Tell whether a pod may write to a volume."""
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in pod.get("volumes", [])}
    mounts = (mount for container in _containers(pod) for mount in container.get("volumeMounts", []))
    return any(
        (_VOLUME, claim["claimName"]) == reference and not claim.get("readOnly") and not mount.get("readOnly")
        for mount in mounts
        if (claim := claims.get(mount["name"]))
    )


def _containers(pod: Object) -> Iterator[Object]:
    yield from (*pod.get("initContainers", []), *pod.get("containers", []))


def _references(pod: Object) -> Iterator[tuple[Pair, Sequence[str]]]:
    """Yield each object that a pod cannot start without, with the keys of it that it must have."""
    for secret in pod.get("imagePullSecrets", []):
        yield ("Secret", secret["name"]), (".dockerconfigjson",)
    if account := pod.get("serviceAccountName"):
        yield ("ServiceAccount", account), ()
    for volume in pod.get("volumes", []):
        yield from _named(volume.get("persistentVolumeClaim"), _VOLUME, "claimName")
        yield from _named(volume.get("secret"), "Secret", "secretName")
        yield from _named(volume.get("configMap"), "ConfigMap", "name")
        for source in volume.get("projected", {}).get("sources", []):
            yield from _named(source.get("secret"), "Secret", "name")
            yield from _named(source.get("configMap"), "ConfigMap", "name")
    for container in _containers(pod):
        sources = (
            *container.get("envFrom", []),
            *(each.get("valueFrom", {}) for each in container.get("env", [])),
        )
        for source in sources:
            yield from _named(source.get("secretKeyRef") or source.get("secretRef"), "Secret", "name")
            yield from _named(
                source.get("configMapKeyRef") or source.get("configMapRef"), "ConfigMap", "name"
            )


def _named(reference: Object | None, kind: str, name: str) -> Iterator[tuple[Pair, Sequence[str]]]:
    """Yield an object by one reference to it, of a variable or of a volume."""
    if reference and not reference.get("optional") and reference.get(name):
        keys = (reference.get("key"), *(item["key"] for item in reference.get("items", [])))
        yield (kind, reference[name]), [key for key in keys if key]


def summary(document: Mapping[str, Any]) -> str:
    """Return how many nodes it takes, in sentences.

    Args:
        document: what `needed` returned.
    """
    nodes, platform = document["nodes"], document["platform"]
    gpus = nodes["gpus"]
    if nodes["count"] is None:
        told = [f"Platform {platform} does not say what a node has: as many nodes as the pods have room on"]
    else:
        kind = f" with {gpus['count']} {gpus['model']}" if gpus else ""
        told = [f"At least {counted(nodes['count'], 'node')}{kind} ({platform})"]
        if nodes["moreInRollout"]:
            told.append(f"{nodes['moreInRollout']} more while a new revision takes over (spec.rollout)")
    if nodes["rolesApart"]:
        told.append("no node with both prefill and decode")
    if nodes["sameValueOf"]:
        told.append(f"all workers on nodes with one value of {nodes['sameValueOf']}")
    return f"{'; '.join(told)}."


def pod_table(document: Mapping[str, Any]) -> Table:
    """Return what pods ask for."""
    rows = [
        (
            pods["role"],
            str(pods["count"]),
            str(pods["moreInRollout"]),
            ",\n".join(f"{name}: {value}" for name, value in pods["each"].items()),
            " or ".join(",\n".join(group) for group in pods["nodeLabels"]),
        )
        for pods in document["pods"]
    ]
    return ("Pods", "Count", "More in a rollout", "Each asks for", "On nodes with"), rows


def component_table(document: Mapping[str, Any]) -> Table:
    """Return what must be installed in the cluster."""
    rows = [(each["name"], ",\n".join(each["provides"]), each["note"]) for each in document["components"]]
    return ("What must be installed", "It provides", "Remark"), rows


def commands(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of how each component gets there: commands and addresses whole, to be copied.

    Args:
        document: what `needed` returned.
    """
    for each in document["components"]:
        yield f"{each['name']} ({'shows it' if each['shows'] else 'brings it'}):"
        yield from (f"  {line}" for line in (each["install"], each["source"]) if line)


def namespace_table(document: Mapping[str, Any]) -> Table:
    """Return what must be in the namespace before the deployment is."""
    security = document["podSecurity"]
    why = ";\n".join(f"{role}: {', '.join(found)}" for role, found in security["because"].items())
    rows = [
        (f"label\n{ENFORCE}", f"{security['level']}, or none", "", why),
        *(
            (each["kind"], each["name"], _with(each), ", ".join(map(_user, each["usedBy"])))
            for each in document["objects"]
        ),
    ]
    return (f"Namespace {document['namespace']} needs", "Name or value", "With", "For"), rows


def _with(found: Mapping[str, Any]) -> str:
    """Say what an object must have."""
    if found["keys"]:
        return f"{'key' if len(found['keys']) == 1 else 'keys'} {', '.join(found['keys'])}"
    if not found.get("accessModes"):
        return ""
    modes = " or\n".join(found["accessModes"])
    # Short lines leave room for names, which a terminal would break otherwise.
    pods = counted(found["pods"], "pod")
    return f"{modes}:\n{pods} mount it\n(ReadWriteOnce does\nwhere all are\non one node)"


def _user(component: str) -> str:
    return "the Job that fetches the model" if component == DOWNLOAD else component


def not_in_a_plan(document: Mapping[str, Any]) -> str:
    """Return where it is said what the fabrics take beside all this; nothing where no page does."""
    if not document["guides"]:
        return ""
    guides = ", ".join(document["guides"])
    return f"Not in a plan: what drivers, nodes and the network must be like. See {guides}"
