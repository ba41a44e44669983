"""How a deployment's ComputeDomain stands. Pure.

Two questions are kept apart. Workers may start once NVIDIA's driver has made the claim template of just this
domain: another domain may hold a template of that name, and the driver then calls ours Ready though it never
gets one. Whether NVLink really spans the workers is the condition's matter, and nothing waits for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from disagg_operator.plan import names
from disagg_operator.plan.model import ComputeDomainPlan
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.kinds import Object

UID_LABEL = "resource.nvidia.com/computeDomain"
"""Label of a claim template and of a node: UID of the ComputeDomain that it belongs to."""

_LOOK = "kubectl get pods --all-namespaces -l dra-driver-nvidia-gpu-component=controller"
_DRIVER = (
    "install NVIDIA's DRA driver, with ComputeDomains on, on Kubernetes 1.34 or newer: "
    "https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu"
)
_SHOWN = 3

Truth = Literal["True", "False", "Unknown"]


class Reason(StrEnum):
    """Reasons of condition ComputeDomainReady. New workers wait in the cases of the first part."""

    SWITCHED_OFF = "SwitchedOff"
    DRIVER_MISSING = "DriverMissing"
    DOMAIN_MISSING = "DomainMissing"
    NAME_TAKEN = "NameTaken"
    TEMPLATE_TAKEN = "TemplateTaken"
    BEING_MADE = "BeingMade"
    BEING_DELETED = "BeingDeleted"

    PODS_OUTDATED = "PodsOutdated"
    NODES_MISSING = "NodesMissing"
    NODES_NOT_READY = "NodesNotReady"
    OUTSIDE_NVLINK = "OutsideNvlink"
    SEVERAL_CLIQUES = "SeveralCliques"
    SCALED_TO_ZERO = "ScaledToZero"
    READY = "Ready"


@dataclass(frozen=True)
class DomainSeen:
    """What the cluster shows of the ComputeDomain that a deployment is to have.

    Attributes:
        readable: whether the operator may read ComputeDomains at all.
        served: whether the API server serves them, and claim templates.
        domain: the object of that name, whoever made it.
        template: the ResourceClaimTemplate of the domain's name for it, whoever made it.
        rival: name of the ComputeDomain that the template was made for, if that is another one.
    """

    readable: bool = True
    served: bool = True
    domain: Object | None = None
    template: Object | None = None
    rival: str = ""


@dataclass(frozen=True)
class NodeSeen:
    """A node of a ComputeDomain, as NVIDIA's driver reports it.

    Attributes:
        clique: what NVLink reaches from it; empty for a node without NVLink to others.
    """

    name: str
    clique: str
    ready: bool


@dataclass(frozen=True)
class Standing:
    """How a ComputeDomain stands.

    Attributes:
        name: name of the ComputeDomain.
        status, reason, message: of condition ComputeDomainReady.
        makes: whether the operator may create or repair it now.
        starts: whether workers may be started.
        nodes: nodes in the domain, sorted; of one that was adopted, those of the deployment's workers.
    """

    name: str
    status: Truth
    reason: Reason
    message: str
    makes: bool = False
    starts: bool = False
    nodes: tuple[NodeSeen, ...] = ()

    @property
    def clique(self) -> str:
        """The clique of all nodes, or how many there are; empty without nodes."""
        cliques = {node.clique for node in self.nodes}
        if len(cliques) > 1:
            return f"{len(cliques)} cliques"
        return next(iter(cliques), "")


def standing(plan: ComputeDomainPlan, deployment: str, seen: DomainSeen, pods: Iterable[Object]) -> Standing:
    """Return how the ComputeDomain of a deployment stands.

    Args:
        plan: what the deployment is to have.
        deployment: name of the deployment.
        seen: what the cluster shows.
        pods: pods that hold claims from its template.
    """
    waiting = _waiting(plan, deployment, seen)
    if waiting is not None:
        return waiting
    users = [*pods]
    nodes = tuple(sorted(_nodes(seen.domain or {}), key=lambda node: node.name))
    status, reason, message = _readiness(plan, seen.domain or {}, nodes, users)
    if plan.adopted:
        # Others may use it too, in other racks.
        ours = {pod.get("spec", {}).get("nodeName") for pod in users}
        nodes = tuple(node for node in nodes if node.name in ours)
    return Standing(plan.name, status, reason, message, makes=not plan.adopted, starts=True, nodes=nodes)


def is_ours(domain: Object, deployment: str) -> bool:
    """Tell whether the operator made a ComputeDomain for a deployment."""
    labels = domain["metadata"].get("labels", {})
    return (labels.get(names.LABEL_MANAGED_BY), labels.get(names.LABEL_DEPLOYMENT)) == (
        names.MANAGER,
        deployment,
    )


def _waiting(plan: ComputeDomainPlan, deployment: str, seen: DomainSeen) -> Standing | None:
    """Return what workers wait for, or None where they may start."""
    if not seen.readable:
        chart = "upgrade its chart with computeDomain.enabled=true"
        return _wait(plan, Reason.SWITCHED_OFF, f"This operator may not use ComputeDomains: {chart}.")
    if not seen.served:
        fault = "The cluster does not serve ComputeDomains, or no claim templates (resource.k8s.io/v1)"
        return _wait(plan, Reason.DRIVER_MISSING, f"{fault}: {_DRIVER}.")
    if seen.domain is None:
        return _absent(plan, seen)
    if not plan.adopted and not is_ours(seen.domain, deployment):
        fault = f"There is a ComputeDomain {plan.name} that {_maker(seen.domain)} made."
        remedy = f"Write spec.computeDomain.name: {plan.name} to use it, or delete it."
        return _wait(plan, Reason.NAME_TAKEN, f"{fault} {remedy}")
    if is_terminating(seen.domain):
        message = f"ComputeDomain {plan.name} is being deleted. If that lasts, see: {_LOOK}"
        return _wait(plan, Reason.BEING_DELETED, message)
    if seen.template is None or is_terminating(seen.template):
        fact = f"Workers start once NVIDIA's driver has made ResourceClaimTemplate {plan.template}."
        look = f"If that lasts, see whether its controller runs: {_LOOK}"
        return _wait(plan, Reason.BEING_MADE, f"{fact} {look}", makes=True)
    if _made_for(seen.template) != seen.domain["metadata"]["uid"]:
        return _wait(plan, Reason.TEMPLATE_TAKEN, _taken(plan, seen), makes=True)
    return None


def _absent(plan: ComputeDomainPlan, seen: DomainSeen) -> Standing:
    if plan.adopted:
        fault = f"There is no ComputeDomain {plan.name} in this namespace."
        remedy = "Create it, or leave out spec.computeDomain.name to have one made."
        return _wait(plan, Reason.DOMAIN_MISSING, f"{fault} {remedy}")
    # A domain that is made now would be called Ready and never get a template.
    if seen.template is not None and not is_terminating(seen.template):
        return _wait(plan, Reason.TEMPLATE_TAKEN, _taken(plan, seen))
    return _wait(plan, Reason.BEING_MADE, f"ComputeDomain {plan.name} is being made.", makes=True)


def _wait(plan: ComputeDomainPlan, reason: Reason, message: str, *, makes: bool = False) -> Standing:
    return Standing(plan.name, "False", reason, message, makes=makes and not plan.adopted)


def _readiness(
    plan: ComputeDomainPlan, domain: Object, nodes: Sequence[NodeSeen], pods: Sequence[Object]
) -> tuple[Truth, Reason, str]:
    """Return status, reason and message, from the nodes that workers are on; True needs all of them."""
    if plan.nodes == 0:
        return (
            "Unknown",
            Reason.SCALED_TO_ZERO,
            "No worker is asked for, so that there is no NVLink to speak of.",
        )
    living = [pod for pod in pods if not is_terminating(pod)]
    old = [pod["metadata"]["name"] for pod in living if _made(pod) < _made(domain)]
    if old:
        run = f"kubectl delete pod {' '.join(old)}"
        fault = f"{_listed(old)} hold channels of an earlier ComputeDomain of that name, without NVLink"
        return "False", Reason.PODS_OUTDATED, f"{fault}. Have them made anew: {run}"
    mine = {node for pod in living if (node := pod.get("spec", {}).get("nodeName"))}
    inside = [node for node in nodes if node.name in mine]
    missing = sorted(mine - {node.name for node in inside})
    if missing:
        uid = domain["metadata"]["uid"]
        look = f"kubectl get pods --all-namespaces -o wide -l {UID_LABEL}={uid}"
        return (
            "False",
            Reason.NODES_MISSING,
            f"Not in the domain yet: {_listed(missing)}. Its daemons are: {look}",
        )
    if len(inside) < plan.nodes:
        wait = "The rest follows once its workers are scheduled."
        return "False", Reason.NODES_MISSING, f"{len(inside)} of {plan.nodes} nodes are in the domain. {wait}"
    faulty = [node.name for node in inside if not node.ready]
    if faulty:
        look = f"kubectl describe computedomain {plan.name}"
        return "False", Reason.NODES_NOT_READY, f"Not ready in the domain: {_listed(faulty)}. See: {look}"
    outside = [node.name for node in inside if not node.clique]
    if outside:
        look = f"kubectl get node {outside[0]} -L nvidia.com/gpu.clique; on the node: nvidia-smi -q -d FABRIC"
        return (
            "False",
            Reason.OUTSIDE_NVLINK,
            f"Without NVLink to other nodes: {_listed(outside)}. See: {look}",
        )
    return _spanned_each(inside, living) if plan.spread else _spanned(inside)


def _spanned_each(inside: Sequence[NodeSeen], pods: Sequence[Object]) -> tuple[Truth, Reason, str]:
    """Judge a domain over several racks: NVLink is to span each model instance."""
    cliques = {node.name: node.clique for node in inside}
    instances: dict[str, set[str]] = {}
    for pod in pods:
        clique = cliques.get(pod.get("spec", {}).get("nodeName", ""))
        if clique is not None:
            instances.setdefault(_instance(pod), set()).add(clique)
    torn = sorted(name for name, found in instances.items() if len(found) > 1)
    if torn:
        fault = f"Pods of {_listed(torn)} are spread over cliques, between which there is no NVLink."
        remedy = "Take out of podTemplate what replaces the derived podAffinity."
        return "False", Reason.SEVERAL_CLIQUES, f"{fault} {remedy}"
    number = len({*cliques.values()})
    where = "in one clique" if number == 1 else f"in {number} cliques"
    text = f"NVLink spans the nodes of each model instance: {len(inside)} nodes {where}."
    return "True", Reason.READY, text


def _instance(pod: Object) -> str:
    """Return the name of what serves one model instance: a pod, or a StatefulSet of several."""
    metadata = pod["metadata"]
    grouped = names.LABEL_GROUP in metadata.get("labels", {})
    return str(metadata["name"]).rpartition("-")[0] if grouped else str(metadata["name"])


def _spanned(inside: Sequence[NodeSeen]) -> tuple[Truth, Reason, str]:
    cliques = sorted({node.clique for node in inside})
    if len(cliques) > 1:
        fault = f"Workers are spread over the cliques {', '.join(cliques)}, between which there is no NVLink."
        remedy = "Leave spec.placement.topologyKey out, or write nvidia.com/gpu.clique, with required: true."
        return "False", Reason.SEVERAL_CLIQUES, f"{fault} {remedy}"
    return "True", Reason.READY, f"NVLink spans all {len(inside)} nodes, in clique {cliques[0]}."


def _nodes(domain: Object) -> Iterable[NodeSeen]:
    for node in domain.get("status", {}).get("nodes", []):
        yield NodeSeen(node["name"], node.get("cliqueID", ""), node.get("status") == "Ready")


def _made_for(template: Object) -> str:
    return str(template["metadata"].get("labels", {}).get(UID_LABEL, ""))


def _taken(plan: ComputeDomainPlan, seen: DomainSeen) -> str:
    owner = f"ComputeDomain {seen.rival}" if seen.rival else "something else"
    return (
        f"ResourceClaimTemplate {plan.template} was made for {owner}, so that {plan.name} gets none. "
        "Delete that, or write the name of a ComputeDomain of your own into spec.computeDomain.name."
    )


def _maker(domain: Object) -> str:
    """Say who made an object, as well as it tells."""
    metadata = domain["metadata"]
    owners = [f"{owner['kind']} {owner['name']}" for owner in metadata.get("ownerReferences", [])]
    manager = metadata.get("labels", {}).get(names.LABEL_MANAGED_BY)
    return next(iter(owners), None) or manager or "somebody else"


def _made(obj: Object) -> datetime:
    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"])


def _listed(found: Sequence[str]) -> str:
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
