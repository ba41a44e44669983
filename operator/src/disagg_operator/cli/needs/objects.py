"""Objects without which pods cannot start, and that nobody makes for them: volumes, Secrets, ConfigMaps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.plan.names import LABEL_COMPONENT
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.preflight.needs import Needs

Pair = tuple[str, str]
"""Kind and name of an object."""

_VOLUME = "PersistentVolumeClaim"
_SHARED = "ReadWriteMany"
_READ = "ReadOnlyMany"


@dataclass
class _Use:
    """How pods use an object: who does, keys of it that they read, and whether any writes."""

    by: dict[str, None] = field(default_factory=dict)
    keys: dict[str, None] = field(default_factory=dict)
    written: bool = False


def named_objects(manifests: Sequence[Object], needs: Needs) -> list[dict[str, Any]]:
    """Return the objects that pods name and nobody makes for them, with what each must have.

    Args:
        manifests: all that the operator makes of a deployment.
        needs: what its pods need.
    """
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
