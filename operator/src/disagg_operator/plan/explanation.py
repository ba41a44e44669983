"""Why everything that was derived is there: each setting of a plan with its reason, source and profile line.

Invariant: what has no provenance is not listed; what is the same for several components is listed once.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from disagg_operator.plan.model import (
    ComputeDomainPlan,
    DownloadPlan,
    EnvSetting,
    FrontendPlan,
    Plan,
    PodPlan,
    Provenance,
    RolePlan,
    SecurityPlan,
    TransferPlan,
)

DEPLOYMENT = "deployment"
"""The component of what concerns all pods alike."""


@dataclass(frozen=True)
class Explained:
    """One derived setting.

    Attributes:
        components: where it is: deployment, prefill, decode, frontend, etcd or nats.
        kind: what it is, such as ``variable`` or ``device``.
        name: its name.
        value: its value in one line.
        reason, source, line: its provenance.
    """

    components: tuple[str, ...]
    kind: str
    name: str
    value: str
    reason: str
    source: str
    line: str


_Entry = tuple[str, str, str, Provenance | None]
"""Kind, name, value and provenance."""


def explained(plan: Plan) -> tuple[Explained, ...]:
    """Return every setting of a plan that has a provenance, in the order of kinds and of the plan."""
    found: dict[tuple[str, str, str, Provenance], list[str]] = {}
    for component, entries in _components(plan).items():
        for kind, name, value, provenance in entries:
            if provenance is not None:
                found.setdefault((kind, name, value, provenance), []).append(component)
    kinds = list(dict.fromkeys(kind for kind, *_ in found))
    return tuple(
        Explained(tuple(components), kind, name, value, why.reason, why.source, why.line)
        for (kind, name, value, why), components in sorted(
            found.items(), key=lambda entry: kinds.index(entry[0][0])
        )
    )


def _components(plan: Plan) -> dict[str, Iterator[_Entry]]:
    return {
        DEPLOYMENT: _shared(plan),
        **{role.role: _role(role) for role in plan.roles.values()},
        "frontend": _frontend(plan.frontend),
        **{service.kind: _pod(service.pod) for service in plan.discovery.services},
    }


def _shared(plan: Plan) -> Iterator[_Entry]:
    yield from _transfer(plan.transfer)
    yield "discovery", "backend", plan.discovery.backend, plan.discovery.provenance
    yield "rollout", "strategy", plan.strategy, plan.strategy_provenance
    yield "network", "policy", plan.network.policy, plan.network.provenance
    for promised in plan.promised:
        yield "promise", promised.transport.value, promised.transport.spoken, promised.provenance
    if plan.compute_domain is not None:
        yield from _domain(plan.compute_domain)
    if plan.download is not None:
        yield from _download(plan.download)


def _transfer(transfer: TransferPlan) -> Iterator[_Entry]:
    yield "transfer", "method", transfer.method, transfer.provenance
    if transfer.nixl_backend is not None:
        yield "transfer", "NIXL backend", transfer.nixl_backend, transfer.backend_provenance


def _domain(domain: ComputeDomainPlan) -> Iterator[_Entry]:
    yield "compute domain", "name", domain.name, domain.provenance
    if domain.num_nodes is not None:
        yield "compute domain", "numNodes", str(domain.num_nodes), domain.num_nodes_provenance


def _download(download: DownloadPlan) -> Iterator[_Entry]:
    yield "model", "fetched into", download.cache, download.provenance
    for variable in download.environment:
        yield "model", variable.name, _value(variable), variable.provenance


def _role(role: RolePlan) -> Iterator[_Entry]:
    yield from _pod(role.pod)
    gang = None if role.group is None else role.group.gang
    if gang is not None:
        yield "placement", "all or none", f"{gang.scheduler} ({gang.api_version})", gang.provenance
    for setting in role.settings:
        yield "engine setting", setting.key, json.dumps(setting.value), setting.provenance


def _frontend(frontend: FrontendPlan) -> Iterator[_Entry]:
    yield from _pod(frontend.pod)
    for setting in frontend.settings:
        yield "frontend setting", setting.key, json.dumps(setting.value), setting.provenance


def _pod(pod: PodPlan) -> Iterator[_Entry]:
    yield "image", "image", pod.image, pod.image_provenance
    yield from _beside(pod)
    for variable in pod.environment:
        yield "variable", variable.name, _value(variable), variable.provenance
    for device in pod.devices:
        yield "device", device.name, str(device.count), device.provenance
    for pages in pod.huge_pages:
        yield "device", pages.name, pages.value, pages.provenance
    if pod.resources:
        yield "resources", "cpu and memory", _json(pod.resources), pod.resources_provenance
    for claim in pod.claims:
        yield "claim", claim.name, claim.template, claim.provenance
    for mount in pod.mounts:
        yield "mount", mount.path, _json(mount.volume), mount.provenance
    yield "security", "mode", _privilege(pod.security), pod.security.provenance
    yield from _placement(pod)
    for annotation in pod.annotations:
        yield "annotation", annotation.name, annotation.value, annotation.provenance


def _beside(pod: PodPlan) -> Iterator[_Entry]:
    """Yield what runs before, beside and after the container."""
    if pod.gate is not None:
        yield "gate", "waits for", " ".join(pod.gate.services), pod.gate.provenance
    if pod.drain is not None:
        yield "drain", "finishes requests for", f"{pod.drain.seconds} s", pod.drain.provenance
        yield "drain", "then keeps KV cache for", f"{pod.drain.kept_seconds} s", pod.drain.kept_provenance
    yield "drain", "terminationGracePeriodSeconds", str(pod.grace_seconds), pod.grace_provenance
    if pod.download is not None:
        yield from _download(pod.download)
    if pod.check is not None:
        for check, asked in pod.check.asked.items():
            yield "check", check, json.dumps(asked), pod.check.provenance
    if pod.agent is not None:
        yield "agent", "image", pod.agent.image, pod.agent.provenance
        for mount in pod.agent.mounts:
            yield "agent", mount.path, _json(mount.volume), mount.provenance


def _placement(pod: PodPlan) -> Iterator[_Entry]:
    for label in pod.node_labels:
        yield "node label", label.name, label.value, label.provenance
    for each in pod.derived_tolerations:
        taint = dict(each.toleration)
        yield "toleration", str(taint.pop("key", "")), _json(taint), each.provenance
    if pod.together is not None:
        strength = "required" if pod.together.required else "preferred"
        yield "placement", "together", f"{pod.together.topology_key} ({strength})", pod.together.provenance
    for shared in (pod.joined, pod.grouped):
        if shared is not None:
            strength = "required" if shared.required else "preferred"
            yield "placement", "instance", f"{shared.topology_key} ({strength})", shared.provenance
    if pod.packed is not None:
        strength = "required" if pod.packed.required else "preferred"
        yield "placement", "role", f"{pod.packed.topology_key} ({strength})", pod.packed.provenance
    if pod.apart is not None:
        value = f"on no node with {pod.apart.other_role} workers"
        yield "placement", "apart", value, pod.apart.provenance


def _privilege(security: SecurityPlan) -> str:
    return " ".join([security.mode, *security.capabilities])


def _value(setting: EnvSetting) -> str:
    if setting.value_from is None:
        return setting.value or ""
    ((kind, reference),) = setting.value_from.items()
    return f"{kind} {reference.get('fieldPath') or reference.get('name', '')}".strip()


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(", ", ": "))
