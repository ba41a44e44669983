"""What the Pod Security Standards forbid of what a pod does.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/, the controls that a worker or
frontend pod can touch: host namespaces, ports and paths, privilege, capabilities, users, seccomp and volumes.
"""

from collections.abc import Iterator, Mapping

from disagg_operator.reconcile.kinds import Object

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"

_BASELINE_CAPABILITIES = {
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
}
_RESTRICTED_CAPABILITIES = {"NET_BIND_SERVICE"}
_RESTRICTED_VOLUMES = {
    "name",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(pod: Object) -> Mapping[str, tuple[str, ...]]:
    """Return what each standard forbids, by the standard's name; restricted forbids all that baseline does.

    Args:
        pod: specification of a pod.
    """
    baseline = tuple(dict.fromkeys(_against_baseline(pod)))
    restricted = (*baseline, *dict.fromkeys(_against_restricted(pod)))
    return {level: found for level, found in ((BASELINE, baseline), (RESTRICTED, restricted)) if found}


def _against_baseline(pod: Object) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield f"hostPath volume {volume['name']}"
    for container, context in _containers(pod):
        if context.get("privileged"):
            yield "a privileged container"
        added = set(context.get("capabilities", {}).get("add", []))
        for capability in sorted(added - _BASELINE_CAPABILITIES):
            yield f"capability {capability}"
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield "a host port"
        if context.get("seccompProfile", {}).get("type") == "Unconfined":
            yield "an unconfined seccomp profile"


def _against_restricted(pod: Object) -> Iterator[str]:
    for volume in pod.get("volumes", []):
        if not set(volume) <= _RESTRICTED_VOLUMES and "hostPath" not in volume:
            yield f"volume {volume['name']}"
    whole = pod.get("securityContext", {})
    for _, context in _containers(pod):
        capabilities = context.get("capabilities", {})
        if context.get("allowPrivilegeEscalation") is not False:
            yield "a container that may escalate its privileges"
        if not context.get("runAsNonRoot", whole.get("runAsNonRoot")):
            yield "a container that may run as root"
        if context.get("runAsUser", whole.get("runAsUser")) == 0:
            yield "a container that runs as user 0"
        if "seccompProfile" not in context and "seccompProfile" not in whole:
            yield "a container without a seccomp profile"
        if "ALL" not in capabilities.get("drop", []):
            yield "a container that keeps capabilities"
        added = set(capabilities.get("add", [])) & _BASELINE_CAPABILITIES
        for capability in sorted(added - _RESTRICTED_CAPABILITIES):
            yield f"capability {capability}"


def _containers(pod: Object) -> Iterator[tuple[Object, Object]]:
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield container, container.get("securityContext", {})
