"""Rules about ComputeDomains: whole nodes, one rack, NVLink left on, and nothing that cannot change."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.admission.templates import containers, entries, mapping, templates
from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.plan.computedomain import CLAIM, domain_of
from disagg_operator.plan.model import ROLES
from disagg_operator.plan.rules.subject import Subject, variable, written_at

_DRIVER = "https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu"
_DYNAMO = "https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html"
_ZONE = "topology.kubernetes.io/zone"
_SWITCHES = ("NCCL_MNNVL_ENABLE", "NCCL_CUMEM_ENABLE")
_REQUIRED = ("NCCL_NVLS_ENABLE", "NVIDIA_GDRCOPY")


def _whole_nodes(subject: Subject) -> Iterator[Finding]:
    node = subject.platform.machine.gpus
    if subject.plan.compute_domain is None or node is None:
        return
    for path, role in subject.roles():
        if role.gpus < node.count:
            fault = (
                f"a pod uses {role.gpus} of the node's {node.count} GPUs, and no other worker can have the "
                "rest: a node has one channel"
            )
            remedy = f"Write gpusPerNode: {node.count}, with tensor x pipeline x context to match"
            yield Finding(f"{path}.gpusPerNode", fault, remedy)


def _one_rack(subject: Subject) -> Iterator[Finding]:
    planned, domain = subject.plan.compute_domain, domain_of(subject.platform.fabrics)
    if planned is None or domain is None:
        return
    if planned.spread:
        yield from _one_rack_each(subject, domain.max_nodes)
        return
    if planned.nodes <= domain.max_nodes:
        return
    nodes = {role: plan.replicas * plan.nodes for role, plan in subject.plan.roles.items()}
    parts = " and ".join(f"{nodes[role]} for {role}" for role in ROLES)
    larger = max(ROLES, key=lambda role: nodes[role])
    fault = f"{planned.nodes} nodes ({parts}) are more than the {domain.max_nodes} of an NVLink domain"
    remedy = (
        f"Lower replicas or nodesPerReplica to {domain.max_nodes} nodes in all, or make a second deployment"
    )
    kv_fabric = subject.platform.fabrics[0]
    if kv_fabric.domain is None:
        shared = next((each.topology_key for each in kv_fabric.together), _ZONE)
        remedy += (
            f", or write placement.topologyKey: {shared}, which lets instances be in several racks: their KV "
            f"cache crosses {kv_fabric.name}"
        )
    yield Finding(f"spec.{larger}.replicas", fault, remedy)


def _one_rack_each(subject: Subject, most: int) -> Iterator[Finding]:
    for path, role in subject.roles():
        if role.nodes > most:
            fault = f"an instance on {role.nodes} nodes is larger than an NVLink domain of {most}"
            yield Finding(f"{path}.nodesPerReplica", fault, f"Write {most} or less")


def _room_to_surge(subject: Subject) -> Iterator[Finding]:
    planned, domain = subject.plan.compute_domain, domain_of(subject.platform.fabrics)
    if planned is None or domain is None or planned.spread:
        return
    if subject.plan.strategy != RolloutStrategy.SURGE or planned.nodes > domain.max_nodes:
        return
    limits = subject.plan.rollout.limits
    # No more than all of the new revision can be there beside the old one.
    more = {
        role: min(limits[role].surge, found.replicas) * found.nodes
        for role, found in subject.plan.roles.items()
    }
    needed = planned.nodes + sum(more.values())
    if needed > domain.max_nodes:
        larger = max(ROLES, key=lambda role: more[role])
        fault = f"a rollout needs {needed} nodes for a while, more than the domain's {domain.max_nodes}"
        remedy = (
            "Write maxSurge: 0, which takes one instance away before it makes another, or use fewer nodes"
        )
        yield Finding(f"spec.rollout.{larger}.maxSurge", fault, remedy)


def _nvlink_off(subject: Subject) -> Iterator[Finding]:
    if subject.plan.compute_domain is None:
        return
    remedy = "Leave it out, or write computeDomain: {enabled: false}"
    for name in _SWITCHES:
        fault = f"{name}=0 turns off the NVLink between nodes that the ComputeDomain opens"
        for _, role in subject.roles():
            setting = variable(role, name)
            if setting is not None and setting.value == "0":
                yield Finding(written_at(role, setting), fault, remedy)
        for path, template in templates(subject.spec):
            for place, container in containers(path, template):
                for field, each in entries(place, container, "env"):
                    if (each.get("name"), each.get("value")) == (name, "0"):
                        yield Finding(field, fault, remedy)


def _reduced(subject: Subject) -> Iterator[Finding]:
    """Find other values of what is required on GB200, though NVLink works without it."""
    if subject.plan.compute_domain is None:
        return
    for _, role in subject.roles():
        for name in _REQUIRED:
            setting = variable(role, name)
            if setting is not None and setting.value not in (None, "1"):
                fault = f"{name} is to be 1 on this hardware, for prefill and decode"
                yield Finding(written_at(role, setting), fault, "Leave it out: 1 is derived")


def _left_out(subject: Subject) -> Iterator[Finding]:
    """Find workers that are set up for NVLink between nodes, and hold no channel of it."""
    asked = subject.spec.compute_domain
    if asked is None or asked.enabled is not False or domain_of(subject.platform.fabrics) is None:
        return
    claiming = {
        path.removesuffix(".podTemplate")
        for path, template in templates(subject.spec)
        if any(entries(path, mapping(template, "spec"), "resourceClaims"))
    }
    unable = [
        role.role
        for path, role in subject.roles()
        if role.gpus
        and path not in claiming
        and (setting := variable(role, _SWITCHES[0])) is not None
        and setting.value != "0"
    ]
    if unable:
        fault = (
            f"without a ComputeDomain, NCCL of {' and '.join(unable)} workers may fail while a model loads "
            "('unhandled system error'), and no KV cache crosses NVLink between nodes"
        )
        remedy = f"Leave it out, write {_SWITCHES[0]}=0 in env, or claim a channel in podTemplate"
        yield Finding("spec.computeDomain.enabled", fault, remedy)


def _number_fits(subject: Subject) -> Iterator[Finding]:
    planned, written = subject.plan.compute_domain, _written(subject)
    if planned is not None and written and planned.nodes and written != planned.nodes:
        fault = (
            f"the workers are on {planned.nodes} nodes, and a driver that goes by this number lets them wait "
            f"until there are {written}, or leaves some out"
        )
        remedy = f"Leave it out, or write {planned.nodes}"
        yield Finding("spec.computeDomain.numNodes", fault, remedy)


def _claimed_twice(subject: Subject) -> Iterator[Finding]:
    planned = subject.plan.compute_domain
    if planned is None:
        return
    for path, template in templates(subject.spec):
        for field, each in entries(f"{path}.spec", mapping(template, "spec"), "resourceClaims"):
            if each.get("name") == CLAIM or each.get("resourceClaimTemplateName") == planned.template:
                fault = "the pod has its claim of the ComputeDomain's channel already, and a node has but one"
                yield Finding(field, fault, "Leave it out, or write computeDomain: {enabled: false}")


def _unchanged(subject: Subject) -> Iterator[Finding]:
    planned, existing = subject.plan.compute_domain, subject.cluster.domain
    if planned is None or planned.adopted or existing is None:
        return
    again = "or delete the deployment and make it again, with its ComputeDomain"
    if planned.num_nodes != existing.num_nodes:
        fault = f"the ComputeDomain was made with {existing.num_nodes}, which cannot change"
        yield Finding("spec.computeDomain.numNodes", fault, f"Write {existing.num_nodes}, {again}")
    elif _written(subject) is None and existing.num_nodes and planned.nodes not in (0, existing.num_nodes):
        fault = (
            f"the ComputeDomain was made for {existing.num_nodes} nodes, which cannot change, and these "
            f"replicas need {planned.nodes}"
        )
        yield Finding("spec.decode.replicas", fault, f"Use {existing.num_nodes} nodes in all, {again}")


def _written(subject: Subject) -> int | None:
    asked = subject.spec.compute_domain
    return None if asked is None else asked.num_nodes


RULES: tuple[Rule[Subject], ...] = (
    Rule("compute-domain-whole-nodes", f"{_DRIVER}/issues/309", _whole_nodes),
    Rule("compute-domain-one-rack", _DRIVER, _one_rack),
    Rule("compute-domain-nvlink-on", f"{_DYNAMO}#computedomain-for-gb200-nvl72", _nvlink_off),
    Rule(
        "compute-domain-settings",
        f"{_DYNAMO}#computedomain-for-gb200-nvl72",
        _reduced,
        severity=Severity.WARN,
    ),
    Rule(
        "compute-domain-left-out",
        f"{_DYNAMO}#computedomain-for-gb200-nvl72",
        _left_out,
        severity=Severity.WARN,
    ),
    Rule("compute-domain-number-fits", _DRIVER, _number_fits, severity=Severity.WARN),
    Rule("compute-domain-claimed-once", "https://github.com/ai-dynamo/dynamo/pull/6364", _claimed_twice),
    Rule("compute-domain-unchanged", f"{_DRIVER}: A computeDomain.spec is immutable", _unchanged),
    Rule("compute-domain-room-to-surge", _DRIVER, _room_to_surge, severity=Severity.WARN),
)
