"""Rules about what pods may do to their nodes, where installed profiles alone decide about that.

It is what the Pod Security Standard ``baseline`` forbids, hostPath volumes among it. No resource can override
these rules: they keep tenants from what the administrator has not given.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.admission.templates import containers, entries, mapping, templates
from disagg_operator.api.v1alpha1.operations import SecurityMode
from disagg_operator.plan.rules.subject import Subject

_SWITCHES = ("hostNetwork", "hostPID", "hostIPC")
_CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""What ``baseline`` lets containers add."""
_UNCONFINED = ("seccompProfile", "appArmorProfile")
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_FAULT = "asks more of its node than the profiles of this installation give"
_REMEDY = (
    "Leave it out, or have the administrator put it into a profile, or set the chart's tenants.hostAccess: "
    "PodSecurity"
)
_PATH_REMEDY = (
    "Leave it out, or have the administrator put the directory into a profile or into the chart's "
    "tenants.hostPaths"
)


def _template(subject: Subject) -> Iterator[Finding]:
    if subject.installation.host.limited:
        for path, template in templates(subject.spec):
            yield from (Finding(field, _FAULT, _REMEDY) for field in _beyond_baseline(path, template))


def _beyond_baseline(path: str, template: Mapping[str, Any]) -> Iterator[str]:
    pod = mapping(template, "spec")
    yield from (f"{path}.spec.{switch}" for switch in _SWITCHES if pod.get(switch))
    yield from _beyond_in_context(f"{path}.spec.securityContext", mapping(pod, "securityContext"))
    for key, value in mapping(mapping(template, "metadata"), "annotations").items():
        if key.startswith(_APP_ARMOR) and value == "unconfined":
            yield f"{path}.metadata.annotations[{key}]"
    for place, container in containers(path, template):
        yield from _beyond_in_context(f"{place}.securityContext", mapping(container, "securityContext"))
        yield from (
            f"{port}.hostPort" for port, each in entries(place, container, "ports") if each.get("hostPort")
        )


def _beyond_in_context(field: str, context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("privileged"):
        yield f"{field}.privileged"
    added = mapping(context, "capabilities").get("add")
    if isinstance(added, list) and any(each not in _CAPABILITIES for each in added):
        yield f"{field}.capabilities.add"
    if context.get("procMount") not in (None, "", "Default"):
        yield f"{field}.procMount"
    if mapping(context, "windowsOptions").get("hostProcess"):
        yield f"{field}.windowsOptions.hostProcess"
    for key in _UNCONFINED:
        if mapping(context, key).get("type") == "Unconfined":
            yield f"{field}.{key}"


def _paths(subject: Subject) -> Iterator[Finding]:
    host = subject.installation.host
    if not host.limited:
        return
    given = _given_paths(subject)
    for field, path in _asked_paths(subject):
        if not isinstance(path, str) or not (path in given or host.allows_path(path)):
            fault = f"mounts {path} of its node, which no profile of this installation does"
            yield Finding(field, fault, _PATH_REMEDY)


def _given_paths(subject: Subject) -> set[str]:
    """Return the directories that installed profiles mount: those of fabrics, and of the machine's own."""
    layers = [*subject.platform.fabrics, subject.platform.release]
    if subject.spec.platform_profile is None:
        layers.append(subject.platform.machine)
    return {mount.host_path for layer in layers for mount in layer.mounts}


def _asked_paths(subject: Subject) -> Iterator[tuple[str, Any]]:
    spec = subject.spec
    for path, template in templates(spec):
        for place, volume in entries(f"{path}.spec", mapping(template, "spec"), "volumes"):
            if volume.get("hostPath"):
                yield f"{place}.hostPath", mapping(volume, "hostPath").get("path")
    if spec.platform_profile is not None:
        for place, mount in entries("spec.platformProfile", spec.platform_profile, "mounts"):
            if "host_path" in mount:
                yield f"{place}.host_path", mount["host_path"]
    hub = spec.model.source.hugging_face
    if hub is not None and hub.cache is not None and hub.cache.node is not None:
        yield "spec.model.source.huggingFace.cache.node.path", hub.cache.node.path


def _mode(subject: Subject) -> Iterator[Finding]:
    mode = subject.spec.security.mode
    if not subject.installation.host.limited or mode in (SecurityMode.PLATFORM, SecurityMode.RESTRICTED):
        return
    if mode.value not in {each.mode for fabric in subject.platform.fabrics for each in fabric.security}:
        yield Finding("spec.security.mode", f"{mode} {_FAULT}", _REMEDY)


_SOURCE = "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline"
RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "host-access",
        _SOURCE,
        _template,
        says="the template reaches for its node in a way that the installation does not let it",
    ),
    Rule("host-paths", _SOURCE, _paths),
    Rule(
        "host-security-mode",
        _SOURCE,
        _mode,
        says="the security mode reaches for more than the installation lets it",
    ),
)
