"""Pods: what has fields of its own, what the operator derives, and the rest as a partial pod template."""

from collections.abc import Iterable, Mapping
from typing import Any

from disagg_operator.cli.convert.bundle import Bundle
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.graph import GPU, Component, Volume
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.platform import is_channel
from disagg_operator.cli.convert.roles import Cast

WORKER, FRONTEND = "worker", "frontend"
"""Names of our containers (build/statefulset.py, build/deployment.py)."""

TOPOLOGY = "a ClusterTopology is Grove's: write the node label into spec.placement.topologyKey"
PREVIEW = "a preview feature of Dynamo's own operator"
_DERIVED = {
    "dynamoNamespace": "the operator gives every deployment a scope of its own",
    "globalDynamoNamespace": "the operator gives every deployment a scope of its own",
    "sharedMemory": "the platform says the size of /dev/shm",
    "sharedMemorySize": "the platform says the size of /dev/shm",
    "serviceName": "the operator names Services",
    "livenessProbe": "the operator derives probes that fit the release",
    "readinessProbe": "the operator derives probes that fit the release",
    "minAvailable": "pods of one instance are scheduled all or none: spec.placement.gang",
}
_DROPPED = {
    "autoscaling": "Dynamo ignores it as well: spec.scaling has bounds for kubectl scale, HPA and KEDA",
    "scalingAdapter": "it has no bounds: write spec.scaling.{role} with minReplicas and maxReplicas, point "
    "HPA or KEDA at its DisaggScaler (docs/scaling.md)",
    "ingress": "the operator makes no Ingress: point one at the Service NAME-frontend",
    "modelRef": "it makes a Service for Dynamo's own discovery of models, which is not needed here",
    "checkpoint": "the operator restores no checkpoints: workers load the model when they start",
    "eppConfig": "no endpoint picker runs: the frontend chooses workers",
    "frontendSidecar": "the frontend runs in pods of its own, not beside each worker",
    "compilationCache": "the operator has no cache for compilations: mount one in spec.{role}.podTemplate",
    "topologyConstraint": TOPOLOGY,
    "experimental": PREVIEW,
    "gpuMemoryService": PREVIEW,
    "failover": PREVIEW,
}
_CONTAINER_DERIVED = {
    "startupProbe": "the operator derives probes that fit the release",
    "livenessProbe": "the operator derives probes that fit the release",
    "readinessProbe": "the operator derives probes that fit the release",
    "workingDir": "the operator's commands hold no relative paths",
    "ports": "the operator derives the ports",
    "lifecycle": "pods finish their requests before they end: spec.drain",
    "name": "the operator names containers",
    "terminationMessagePolicy": "the operator derives it",
}
_POD_DERIVED = {
    "terminationGracePeriodSeconds": "it follows from spec.drain and the transfer's time-out",
    "restartPolicy": "workers are always restarted",
    "shareProcessNamespace": "the operator derives it",
}
_READ = (
    "command", "args", "env", "envFrom", "image", "imagePullPolicy", "resources", "volumeMounts",
    "securityContext",
)  # fmt: skip
"""Fields of the main container that others read."""
_POD_READ = (
    "containers", "mainContainer", "volumes", "nodeSelector", "tolerations", "affinity", "resourceClaims",
    "imagePullSecrets", "serviceAccountName",
)  # fmt: skip
_THEIR_LABELS = "nvidia.com/dynamo-"
_AMOUNTS = ("limits", "requests")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where a container's shared memory is, not a file of ours


def write_pod(draft: Draft, component: Component, field: str, bundle: Bundle) -> None:
    """Write what a component says of its pods.

    Args:
        draft: what is written to.
        component: the component.
        field: ``spec.prefill``, ``spec.decode`` or ``spec.frontend``.
        bundle: what stands beside the graph.
    """
    role = field.removeprefix("spec.")
    for key, why in _DERIVED.items():
        draft.derived([component.part[key]], why)
    for key, why in _DROPPED.items():
        draft.dropped([component.part[key]], why.format(role=role))
    for key, part in component.container.items():
        if key in _CONTAINER_DERIVED:
            draft.ledger.derived(part, _CONTAINER_DERIVED[key])
        elif key not in _READ:
            to_container(draft, field, key, part.value, part)
    for key, part in component.pod.items():
        if key in _POD_DERIVED:
            draft.ledger.derived(part, _POD_DERIVED[key])
        elif key not in _POD_READ and part:
            draft.write((*field.split("."), "podTemplate", "spec", key), part.value, part)
    for source in component.variable_sources():
        if not draft.ledger.knows(source.part):
            to_container(draft, field, "envFrom", [dict(source.entry)], source.part)
    _write_metadata(draft, component, field)
    _write_claims(draft, component, field, bundle)
    _write_amounts(draft, component, field)
    _write_sidecars(draft, component, field)


def to_container(draft: Draft, field: str, key: str, value: Any, *parts: Part) -> None:
    """Write a field of our container into the partial pod template."""
    to = f"{field}.podTemplate.spec.containers"
    name = FRONTEND if field.endswith(FRONTEND) else WORKER
    containers = draft.read(to) or [{"name": name}]
    ours = next(each for each in containers if each["name"] == name)
    known = ours.get(key)
    ours[key] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value
    draft.write(to, containers)
    draft.note(f"{to}[{name}].{key}", *parts)


def write_volumes(draft: Draft, component: Component, field: str) -> None:
    """Write the volumes that nothing else was made of into the partial pod template."""
    for volume in component.volumes():
        if draft.ledger.knows(volume.mount):
            continue
        if volume.path == _SHARED_MEMORY and volume.source.at("emptyDir"):
            draft.derived([volume.mount, *volume.declared], "the platform says the size of /dev/shm")
        elif not volume.source and not volume.claim:
            draft.ledger.dropped(volume.mount, "the file declares no such volume")
        else:
            _write_volume(draft, field, volume)
    mounted = {part.place for volume in component.volumes() for part in volume.declared}
    for entry in component.pod["volumes"].entries():
        if entry.place not in mounted:
            draft.append(f"{field}.podTemplate.spec.volumes", entry.value, entry)


def _write_volume(draft: Draft, field: str, volume: Volume) -> None:
    name = volume.mount["name"].text
    declared: Any = {"name": name, "persistentVolumeClaim": {"claimName": volume.claim}}
    if not volume.claim:
        declared = volume.source.value
    mount = {"name": name, "mountPath": volume.path}
    mount |= {key: part.value for key, part in volume.mount.items() if key in ("readOnly", "subPath")}
    draft.append(f"{field}.podTemplate.spec.volumes", declared, *volume.declared)
    to_container(draft, field, "volumeMounts", [mount], volume.mount)


def _write_metadata(draft: Draft, component: Component, field: str) -> None:
    for section in component.metadata:
        for kind in ("labels", "annotations"):
            for key, part in section[kind].items():
                if key.startswith("nvidia.com/"):
                    draft.ledger.dropped(part, "it steers Dynamo's own operator")
                else:
                    draft.write((*field.split("."), "podTemplate", "metadata", kind, key), part.text, part)


def _write_claims(draft: Draft, component: Component, field: str, bundle: Bundle) -> None:
    for claim in component.resource_claims():
        if is_channel(claim, bundle):
            why = "the operator makes a ComputeDomain, and every worker gets a channel of it"
            draft.ledger.derived(claim, why, "spec.computeDomain")
        elif claim["resourceClaimTemplateName"] or claim["resourceClaimName"]:
            draft.append(f"{field}.podTemplate.spec.resourceClaims", claim.value, claim)
        else:
            known = (draft.read(f"{field}.podTemplate.spec.containers") or [{}])[0].get("resources", {})
            claims = [*known.get("claims", []), claim.value]
            to_container(draft, field, "resources", {**known, "claims": claims}, claim)


def _write_amounts(draft: Draft, component: Component, field: str) -> None:
    role = field.removeprefix("spec.")
    for kind in _AMOUNTS:
        for name, part in component.amounts(kind):
            if name == GPU and role != FRONTEND:
                continue
            if "/" not in name:
                draft.write((*field.split("."), "resources", kind, name), part.value, part)
            elif role == FRONTEND or not part.text.isdigit():
                draft.ledger.dropped(part, "the API has no field for it")
            elif name.startswith(("nvidia.com/gpu", "gpu.")):
                draft.ledger.dropped(part, "only whole GPUs of NVIDIA are known: write gpusPerNode")
            else:
                draft.offer(role, "device", name, int(part.text), part)
    for section in (component.part["resources"], component.container["resources"]):
        for kind in _AMOUNTS:
            if section[kind]["gpuType"]:
                draft.ledger.derived(section[kind]["gpuType"], "it is part of the resource's name")


def _write_sidecars(draft: Draft, component: Component, field: str) -> None:
    frontends = component.part["frontendSidecar"].text
    for sidecar in component.sidecars:
        if sidecar["name"].text == frontends:
            draft.ledger.dropped(sidecar, "the frontend runs in pods of its own, not beside each worker")
        else:
            draft.write(f"{field}.podTemplate.spec.containers", _with(draft, field, sidecar.value))
            draft.note(f"{field}.podTemplate.spec.containers[{sidecar['name'].text}]", sidecar)


def _with(draft: Draft, field: str, container: Any) -> list[Any]:
    return [*(draft.read(f"{field}.podTemplate.spec.containers") or []), container]


def write_placement(draft: Draft, cast: Cast) -> None:
    """Write where pods run: for all of them where all say the same, and else for each."""
    places = {f"spec.{worker.role}": worker.component for worker in cast.workers}
    if cast.frontend is not None:
        places["spec.frontend"] = cast.frontend
    _write_shared(draft, places, "nodeSelector", "spec.placement.nodeSelector")
    _write_shared(draft, places, "tolerations", "spec.placement.tolerations")
    for field, component in places.items():
        _write_affinity(draft, component, field)
    accounts = [(field, each.pod["serviceAccountName"]) for field, each in places.items()]
    named = {part.text for _, part in accounts if part}
    for field, part in accounts:
        if part and len(named) == 1:
            draft.write("spec.serviceAccountName", part.text, part)
        elif part:
            draft.write(f"{field}.podTemplate.spec.serviceAccountName", part.text, part)


def _write_shared(draft: Draft, places: Mapping[str, Component], key: str, to: str) -> None:
    parts = {field: component.pod[key] for field, component in places.items()}
    given = [part for part in parts.values() if part.value]
    if given and len(given) == len(parts) and all(part.value == given[0].value for part in given):
        draft.write(to, given[0].value, *given)
        return
    for field, part in parts.items():
        if part.value:
            draft.write(f"{field}.podTemplate.spec.{key}", part.value, part)


def _write_affinity(draft: Draft, component: Component, field: str) -> None:
    affinity = component.pod["affinity"]
    kept: dict[str, Any] = {}
    for kind, part in affinity.items():
        if any(each.text.startswith(_THEIR_LABELS) for each in _keys(part)):
            why = "it looks for labels that only Dynamo's operator writes: see spec.placement.topologyKey"
            draft.ledger.dropped(part, why)
        elif part.value:
            kept[kind] = part.value
            draft.note(f"{field}.podTemplate.spec.affinity.{kind}", part)
    if kept:
        draft.write(f"{field}.podTemplate.spec.affinity", kept)


def _keys(affinity: Part) -> Iterable[Part]:
    return (leaf for leaf in affinity.leaves() if leaf.keys[-1] == "key")


def offer_security(draft: Draft, component: Component, role: str) -> None:
    """Offer the privileges of a worker; the rest of its security context goes into the pod template."""
    context = component.container["securityContext"]
    for key, part in context.items():
        if key == "privileged" and part.value is True:
            draft.offer(role, "security", "mode", "Privileged", part)
        elif key == "capabilities" and part.value == {"add": ["IPC_LOCK"]}:
            draft.offer(role, "security", "mode", "IpcLock", part)
    offered = tuple(key for key, part in context.items() if any(part in each.parts for each in draft.offers))
    write_security(draft, component, f"spec.{role}", but=offered)


def write_security(draft: Draft, component: Component, field: str, but: tuple[str, ...] = ()) -> None:
    """Write a container's security context, but for some of its fields, into the partial pod template."""
    parts = {key: part for key, part in component.container["securityContext"].items() if key not in but}
    if parts:
        values = {key: part.value for key, part in parts.items()}
        to_container(draft, field, "securityContext", values, *parts.values())
