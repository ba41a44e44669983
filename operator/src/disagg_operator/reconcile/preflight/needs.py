"""What the planned pods ask of a cluster, read from the pods as they would be made, overrides included.

Invariant: a value that is small enough to be kept for every deployment.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from disagg_operator.api.quantities import quantity
from disagg_operator.build.agent import AGENT
from disagg_operator.build.pods import pod_template
from disagg_operator.build.statefulset import CONTAINER
from disagg_operator.plan import names
from disagg_operator.plan.gang import api_of
from disagg_operator.plan.model import ROLES, Plan, PodPlan, Provenance, TogetherPlan
from disagg_operator.reconcile.kinds import CLAIM, CLAIM_TEMPLATE, COMPUTE_DOMAIN, Kind, Object, gang_kind
from disagg_operator.reconcile.preflight.pod_security import violations
from disagg_operator.reconcile.preflight.snapshot import Named, Node, Offer, Taint

WORKER_METADATA = Kind("nvidia.com/v1alpha1", "DynamoWorkerMetadata", "dynamoworkermetadatas")
CHANNEL_CLASS = "compute-domain-default-channel.nvidia.com"
"""DeviceClass of the channel that each claim of a ComputeDomain asks for."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_DISCOVERY = ("DYN_DISCOVERY_BACKEND", "kubernetes")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True)
class Requirement:
    """What a label of a node must be, as in Kubernetes' node selectors."""

    key: str
    operator: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        if self.operator == "In" and len(self.values) == 1:
            return f"{self.key}={self.values[0]}"
        return f"{self.key} {self.operator} {', '.join(self.values)}".rstrip()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a node with these labels will do."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return value is not None and _compares(value, self.operator, self.values)
        return True


@dataclass(frozen=True)
class Gang:
    """A scheduler that gives nodes to all pods of an instance or to none.

    Attributes:
        scheduler: its name in spec.placement.gang.
        kind: what the API server must serve for it.
    """

    scheduler: str
    kind: Kind


@dataclass(frozen=True)
class Grouping:
    """What the pods of an instance on several nodes share.

    Attributes:
        nodes: pods of an instance.
        together: the node label whose value they share.
    """

    nodes: int
    together: TogetherPlan


@dataclass(frozen=True)
class RoleNeeds:
    """What the pods of one role ask for.

    Attributes:
        role: prefill, decode or frontend.
        pods: how many there are.
        labels: what the labels of their nodes must be: one of these groups, all of its requirements.
        tolerations: the taints that they tolerate, in Kubernetes' shape.
        requests: what each pod takes of a node, as numbers.
        alone: whether a node takes one pod at most: it holds the node's only channel.
        instances: pods that a node takes at most, where those of an instance are on different nodes; None
            where they need not be.
        violations: what each Pod Security Standard forbids of what they do.
        reasons: why the plan asks for a device or label, by its name.
        guessed: the devices whose number in a node the platform's profile does not know.
        claims: what a podTemplate claims, beside the channel of a ComputeDomain.
        grouping: what the pods of an instance must share, or None.
        agents: how much of the requests is for the transport agent, which the operator puts beside workers.
    """

    role: str
    pods: int
    labels: tuple[tuple[Requirement, ...], ...]
    tolerations: tuple[Mapping[str, Any], ...]
    requests: Mapping[str, Decimal]
    alone: bool
    instances: int | None
    violations: Mapping[str, tuple[str, ...]]
    reasons: Mapping[str, Provenance]
    guessed: tuple[str, ...]
    claims: tuple[Named, ...]
    grouping: Grouping | None = None
    agents: Mapping[str, Decimal] = field(default_factory=dict)

    def devices(self) -> Mapping[str, Decimal]:
        """Return what they ask for beside CPU, memory and disk."""
        return {name: count for name, count in self.requests.items() if name not in _COMPUTE}

    def matches(self, node: Node) -> bool:
        """Tell whether the pods may go to a node by its labels."""
        return any(all(each.holds(node.labels) for each in group) for group in self.labels)

    def refused_by(self, offer: Offer) -> list[Taint]:
        """Return the taints of a node that keep these pods away."""
        return [
            taint
            for taint in offer.taints
            if taint.effect in ("NoSchedule", "NoExecute")
            and not any(_tolerates(toleration, taint) for toleration in self.tolerations)
        ]

    def room_on(self, offer: Offer) -> int:
        """Return how many of these pods fit on an empty node."""
        fits = [
            int(offer.allocatable.get(name, Decimal(0)) // amount)
            for name, amount in self.requests.items()
            if amount
        ]
        most = (1 if self.alone else self.pods, self.pods if self.instances is None else self.instances)
        return min(*fits, *most)


@dataclass(frozen=True)
class Needs:
    """What one deployment asks of a cluster.

    Attributes:
        namespace: where its pods are.
        roles: what its pods ask for.
        together: label whose value is the same on all workers' nodes, or None where that is not required.
        apart: why no node may have both prefill and decode, or None where one may.
        kinds: kinds that the API server must serve.
        device_classes: DeviceClasses that must be there.
        gang: what schedules the pods of an instance all or none, where that is asked for.
    """

    namespace: str
    roles: tuple[RoleNeeds, ...]
    together: TogetherPlan | None
    apart: Provenance | None
    kinds: tuple[Kind, ...]
    device_classes: tuple[str, ...]
    gang: Gang | None = None

    @property
    def asked(self) -> tuple[Kind, ...]:
        """All kinds of which the API server is asked whether it serves them."""
        return self.kinds if self.gang is None else (*self.kinds, self.gang.kind)

    @property
    def claims(self) -> Mapping[Named, tuple[str, ...]]:
        """What podTemplates claim, with the roles whose pods do."""
        found: dict[Named, tuple[str, ...]] = {}
        for role in self.roles:
            for claim in role.claims:
                found[claim] = (*found.get(claim, ()), role.role)
        return found

    @property
    def workers(self) -> tuple[RoleNeeds, ...]:
        """What prefill and decode ask for."""
        return tuple(each for each in self.roles if each.role in ROLES)


def needs_of(plan: Plan) -> Needs:
    """Return what a planned deployment asks of a cluster."""
    workers = [
        (role.role, role.pod, (role.replicas, role.nodes), _template(role.pod, plan, role.role, role.nodes))
        for role in plan.roles.values()
    ]
    gangs = [role.group.gang for role in plan.roles.values() if role.group and role.group.gang]
    frontend = plan.frontend
    template = _template(frontend.pod, plan, names.FRONTEND)
    everything = [*workers, (names.FRONTEND, frontend.pod, (frontend.replicas, 1), template)]
    roles = tuple(_role(*each) for each in everything)
    together = next((found for _, pod, _, made in workers if (found := _together(pod, made))), None)
    apart = [
        pod.apart.provenance
        for _, pod, _, made in workers
        if pod.apart and _avoids(made, names.labels(plan.name, pod.apart.other_role))
    ]
    channels = any(pod.claims for _, pod, _, _ in workers)
    claims = channels or any(role.claims for role in roles)
    return Needs(
        namespace=plan.namespace,
        roles=tuple(each for each in roles if each.pods),
        together=together,
        apart=apart[0] if apart else None,
        kinds=(
            *((COMPUTE_DOMAIN,) if channels else ()),
            *((CLAIM_TEMPLATE,) if claims else ()),
            *((WORKER_METADATA,) if any(_discovers(made) for *_, made in workers) else ()),
        ),
        device_classes=(CHANNEL_CLASS,) if channels else (),
        gang=Gang(gangs[0].scheduler, gang_kind(api_of(gangs[0]))) if gangs else None,
    )


def _template(pod: PodPlan, plan: Plan, role: str, nodes: int = 1) -> Object:
    container = role if role == names.FRONTEND else CONTAINER
    group = () if nodes == 1 else (plan.revision, 0)
    template: Object = pod_template(pod, container, names.labels(plan.name, role, *group))
    return {**template["spec"], "labels": template["metadata"]["labels"]}


def _role(role: str, pod: PodPlan, count: tuple[int, int], made: Object) -> RoleNeeds:
    instances, nodes = count
    spread = nodes > 1 and _avoids(made, made["labels"])
    return RoleNeeds(
        role=role,
        pods=instances * nodes,
        labels=_labels(made),
        tolerations=tuple(made.get("tolerations", [])),
        requests=_requests(made),
        alone=bool(pod.claims),
        instances=instances if spread else None,
        violations=violations(made),
        reasons={
            **{label.name: label.provenance for label in pod.node_labels},
            **{device.name: device.provenance for device in pod.devices},
        },
        guessed=tuple(device.name for device in pod.devices if device.provenance.guess),
        claims=tuple(_claims(made, {claim.template for claim in pod.claims})),
        grouping=_grouping(pod, nodes, made),
        agents=next(
            (_requested(each) for each in made.get("initContainers", []) if each["name"] == AGENT), {}
        ),
    )


def _grouping(pod: PodPlan, nodes: int, made: Object) -> Grouping | None:
    if nodes == 1:
        return None
    shared = (each for each in (pod.grouped, pod.joined) if each is not None and each.required)
    kept = [each for each in shared if each.topology_key in _joining_keys(made)]
    return Grouping(nodes, kept[0]) if kept else None


def _claims(pod: Object, derived: Container[str]) -> Iterator[Named]:
    """Yield the claims and templates that a pod names, but for those that the operator waits for itself."""
    for claim in pod.get("resourceClaims", []):
        template, name = claim.get("resourceClaimTemplateName"), claim.get("resourceClaimName")
        if template and template not in derived:
            yield Named(CLAIM_TEMPLATE, template)
        elif name:
            yield Named(CLAIM, name)


def _labels(pod: Object) -> tuple[tuple[Requirement, ...], ...]:
    selector = tuple(Requirement(key, "In", (value,)) for key, value in pod.get("nodeSelector", {}).items())
    affinity = pod.get("affinity", {}).get("nodeAffinity", {}).get(_REQUIRED, {})
    groups = [
        tuple(
            Requirement(each["key"], each["operator"], tuple(each.get("values", [])))
            for each in term.get("matchExpressions", [])
        )
        for term in affinity.get("nodeSelectorTerms", [])
    ]
    return tuple((*selector, *group) for group in groups or [()])


def _requests(pod: Object) -> Mapping[str, Decimal]:
    """Return what the scheduler counts: containers and sidecars together, or the greediest init container."""
    starting = pod.get("initContainers", [])
    running = [*pod["containers"], *(each for each in starting if each.get("restartPolicy") == "Always")]
    total: dict[str, Decimal] = {}
    for container in running:
        for name, amount in _requested(container).items():
            total[name] = total.get(name, Decimal(0)) + amount
    for container in starting:
        for name, amount in _requested(container).items():
            total[name] = max(total.get(name, Decimal(0)), amount)
    return total


def _requested(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources", {})
    # A limit without a request is one.
    written = {**resources.get("limits", {}), **resources.get("requests", {})}
    return {name: number for name, value in written.items() if (number := quantity(value)) is not None}


def _together(pod: PodPlan, made: Object) -> TogetherPlan | None:
    """Return the rule that keeps workers together where it is in force: an override may have removed it."""
    return (
        pod.together
        if pod.together is not None and pod.together.topology_key in _joining_keys(made)
        else None
    )


def _joining_keys(made: Object) -> set[str]:
    """Return the node labels whose value the pods must share with others."""
    terms = made.get("affinity", {}).get("podAffinity", {}).get(_REQUIRED, [])
    return {term.get("topologyKey") for term in terms}


def _avoids(made: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether the pods avoid the nodes of pods with these labels: an override may have removed that."""
    terms = made.get("affinity", {}).get("podAntiAffinity", {}).get(_REQUIRED, [])
    return any(
        term.get("topologyKey") == names.LABEL_NODE and _selects(term.get("labelSelector", {}), labels)
        for term in terms
    )


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector of Kubernetes selects pods with these labels."""
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        Requirement(each["key"], each["operator"], tuple(each.get("values", []))).holds(labels)
        for each in selector.get("matchExpressions", [])
    )


def _discovers(made: Object) -> bool:
    """Tell whether pods find each other through the Kubernetes API, for which Dynamo has its own kind."""
    name, value = _DISCOVERY
    return any(
        each["name"] == name and each.get("value") == value
        for container in made["containers"]
        for each in container.get("env", [])
    )


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint.key)
    return toleration.get("key") == taint.key and toleration.get("value", "") == taint.value


def _compares(value: str, operator: str, bounds: tuple[str, ...]) -> bool:
    try:
        number, bound = int(value), int(bounds[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound
