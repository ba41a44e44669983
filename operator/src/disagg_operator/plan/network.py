"""Who may reach the pods of a deployment: all but the frontend ask nobody who he is.

Invariants: all pods of a deployment reach each other on all ports, since those of KV transfer are only known
at run time; no fence is part of the revision, so that its changes restart no pod. Policies name ports by
number, and one covers all pods, so that a deployment costs one object more: only where the frontend's number
is a port of other pods as well, the frontend has one of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.network import in_host_network
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.network import NetworkPolicyMode
from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.model import (
    Entrance,
    FencePlan,
    FrontendPlan,
    NetworkPlan,
    Port,
    Provenance,
    RolePlan,
)

_FIELD = "spec.network.policy"
_METRICS = ("system", "metrics", "agent")
"""Names of workers' ports that serve metrics and no requests."""
_FENCED = Provenance(
    "etcd, NATS, the ports of workers and those of KV transfer ask nobody who he is.",
    "https://kubernetes.io/docs/concepts/services-networking/network-policies/",
)


def network_plan(basis: Basis, roles: Mapping[str, RolePlan], frontend: FrontendPlan) -> NetworkPlan:
    """Decide who may reach the pods.

    Args:
        basis: what the deployment's pods have in common.
        roles: the workers.
        frontend: the front door.

    Raises:
        Refusal: a policy is asked for, and the installation makes none.
    """
    policy, why = _policy(basis)
    if policy is NetworkPolicyMode.NONE:
        return NetworkPlan(policy.value, (), why)
    behind = [port for role in roles.values() for port in _ports(role)]
    others = {port.number for port in behind}
    others |= {port.number for service in basis.discovery.services for port in service.ports}
    metrics = tuple(sorted({port.number for port in behind if port.name in _METRICS}))
    inner, outer = _inner(basis, roles, metrics), _outer(basis, frontend.port)
    own = Entrance(({"podSelector": {"matchLabels": {names.LABEL_DEPLOYMENT: basis.name}}},), ())
    network, door = names.network(basis.name), names.frontend(basis.name)
    everything = {"matchLabels": {names.LABEL_DEPLOYMENT: basis.name}}
    if frontend.port not in others:
        whole = FencePlan(network, names.NETWORK, everything, (own, *outer, *inner))
        return NetworkPlan(policy.value, (whole,), why)
    but = {"key": names.LABEL_ROLE, "operator": "NotIn", "values": [names.FRONTEND]}
    selected = {"matchLabels": names.selector(basis.name, names.FRONTEND)}
    fences = (
        FencePlan(network, names.NETWORK, {**everything, "matchExpressions": [but]}, (own, *inner)),
        FencePlan(door, names.FRONTEND, selected, (own, *outer)),
    )
    return NetworkPlan(policy.value, fences, why)


def _policy(basis: Basis) -> tuple[NetworkPolicyMode, Provenance]:
    asked, made = basis.spec.network, basis.installation.network_policies
    if not made and (asked.policy is NetworkPolicyMode.RESTRICT or asked.clients or asked.metrics_from):
        fault = "the operator makes no NetworkPolicies: the chart's network.policies is off"
        remedy = "Leave out spec.network, or have it turned on"
        raise Refusal([Problem(_FIELD, fault, remedy, "network-heeded")])
    if asked.policy is not None:
        return asked.policy, Provenance("Set by the user.", _FIELD)
    hosted = next(in_host_network(basis.spec), None)
    if hosted is not None:
        reason = "A NetworkPolicy neither covers nor knows pods in the host network."
        return NetworkPolicyMode.NONE, Provenance(reason, hosted)
    if not made:
        reason = "The installation makes no NetworkPolicies."
        return NetworkPolicyMode.NONE, Provenance(reason, "the chart's network.policies")
    return NetworkPolicyMode.RESTRICT, _FENCED


def _ports(role: RolePlan) -> Iterator[Port]:
    yield from role.pod.ports
    if role.group is not None:
        yield from role.group.ports
    if role.pod.agent is not None:
        yield role.pod.agent.port


def _inner(basis: Basis, roles: Mapping[str, RolePlan], metrics: tuple[int, ...]) -> Iterator[Entrance]:
    """Yield who else reaches workers."""
    agents = {role.pod.agent.port.number for role in roles.values() if role.pod.agent is not None}
    if agents and basis.installation.namespace:
        yield Entrance(_operator(basis), tuple(sorted(agents)))
    readers = _readers(basis)
    if readers and metrics:
        yield Entrance(readers, metrics)


def _outer(basis: Basis, port: int) -> Iterator[Entrance]:
    """Yield who else reaches the frontend: its metrics and its requests share a port."""
    clients = tuple(basis.spec.network.clients)
    if not clients:
        yield Entrance((), (port,))
        return
    asks = _operator(basis) if basis.measured and basis.installation.namespace else ()
    yield Entrance((*clients, *asks, *_readers(basis)), (port,))


def _readers(basis: Basis) -> tuple[Mapping[str, Any], ...]:
    return (*basis.installation.metrics_from, *basis.spec.network.metrics_from)


def _operator(basis: Basis) -> tuple[Mapping[str, Any], ...]:
    namespace = {names.LABEL_NAMESPACE: basis.installation.namespace}
    return (
        {
            "namespaceSelector": {"matchLabels": namespace},
            "podSelector": {"matchLabels": {names.LABEL_COMPONENT: names.OPERATOR}},
        },
    )
