"""Rules about pod templates and placement."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.admission.shapes import findings
from disagg_operator.api.admission.templates import containers, entries, mapping, templates
from disagg_operator.api.merge import deletes
from disagg_operator.api.v1alpha1.operations import SecurityMode
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

_RESERVED_PREFIX = "disagg.dev/"
_RESERVED_LABELS = tuple(
    f"app.kubernetes.io/{key}" for key in ("managed-by", "name", "instance", "component")
)
_HOST_SWITCHES = ("hostNetwork", "hostPID", "hostIPC")
_CLAIM_TEMPLATES = "volumeClaimTemplates"
_NO_CLAIM_TEMPLATES = "no pod of a deployment has a volume that is made for it and outlives it"
_CLAIM = "Name a PersistentVolumeClaim of yours, or an ephemeral volume, in spec.volumes"
_COMPARING = ("Gt", "Lt")
_COMPARISON = "the feature TaintTolerationComparisonOperators"
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_SAFE_CAPABILITY = "NET_BIND_SERVICE"


def _keys(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, template in templates(spec):
        if _CLAIM_TEMPLATES in mapping(template, "spec"):
            yield Finding(f"{path}.spec.{_CLAIM_TEMPLATES}", _NO_CLAIM_TEMPLATES, _CLAIM)
        for key, value in template.items():
            if key == "$patch":
                continue
            if key == _CLAIM_TEMPLATES:
                yield Finding(f"{path}.{key}", _NO_CLAIM_TEMPLATES, _CLAIM)
            elif key not in ("metadata", "spec"):
                remedy = f"Write it below {path}.spec" if key in ("containers", "volumes") else "Leave it out"
                yield Finding(f"{path}.{key}", "a pod template has only metadata and spec", remedy)
            elif value is not None and not isinstance(value, Mapping):
                yield Finding(f"{path}.{key}", "must be an object", "Write an object, as in a pod template")


def _named(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, template in templates(spec):
        for key in ("containers", "initContainers", "volumes"):
            for place, entry in entries(f"{path}.spec", mapping(template, "spec"), key):
                if not isinstance(entry.get("name"), str) or not entry["name"]:
                    fault = "has no name, so it cannot be merged over the derived entry"
                    yield Finding(place, fault, "Give it the name of the entry to change, or a new one")


def _labels(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, template in templates(spec):
        metadata = mapping(template, "metadata")
        for kind in ("labels", "annotations"):
            for key in mapping(metadata, kind):
                if key.startswith(_RESERVED_PREFIX) or (kind == "labels" and key in _RESERVED_LABELS):
                    fault = f"{key} belongs to the operator, which finds its pods by it"
                    yield Finding(f"{path}.metadata.{kind}[{key}]", fault, "Use a key of your own")


def _restricted(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.security.mode != SecurityMode.RESTRICTED:
        return
    for path, template in templates(spec):
        for field in _privileges(path, template):
            remedy = "Leave it out, or write security.mode: Platform"
            yield Finding(field, "asks for a privilege that security.mode Restricted rules out", remedy)


def _privileges(path: str, template: Mapping[str, Any]) -> Iterator[str]:
    pod = mapping(template, "spec")
    yield from (f"{path}.spec.{switch}" for switch in _HOST_SWITCHES if pod.get(switch))
    yield from (place for place, each in entries(f"{path}.spec", pod, "volumes") if each.get("hostPath"))
    for place, container in containers(path, template):
        context = mapping(container, "securityContext")
        field = f"{place}.securityContext"
        yield from (
            f"{field}.{key}" for key in ("privileged", "allowPrivilegeEscalation") if context.get(key)
        )
        added = mapping(context, "capabilities").get("add")
        if isinstance(added, list) and any(each != _SAFE_CAPABILITY for each in added):
            yield f"{field}.capabilities.add"


def _tolerations(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    # Those of pod templates have their shape looked at with the template.
    yield from findings("PodSpec", {"tolerations": spec.placement.tolerations}, "spec.placement")
    for field, toleration in _all_tolerations(spec):
        yield from _contradictions(toleration, field)


def _all_tolerations(spec: DisaggDeploymentSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, each in enumerate(spec.placement.tolerations):
        yield f"spec.placement.tolerations[{index}]", each
    for path, template in templates(spec):
        yield from entries(f"{path}.spec", mapping(template, "spec"), "tolerations")


def _contradictions(toleration: Mapping[str, Any], field: str) -> Iterator[Finding]:
    operator, value = toleration.get("operator"), toleration.get("value")
    if not toleration.get("key") and operator != "Exists":
        yield Finding(field, "has no key", "Write the key of the taint, or operator: Exists for all")
    if operator == "Exists" and value:
        yield Finding(f"{field}.value", "says nothing with operator Exists", "Leave it out, or write Equal")
    if operator in _COMPARING and not _WHOLE.fullmatch(str(value)):
        yield Finding(
            f"{field}.value", f"is no number, and {operator} compares numbers", "Write a whole number"
        )
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        fault = "says nothing but with effect NoExecute"
        yield Finding(f"{field}.tolerationSeconds", fault, "Leave it out, or write effect: NoExecute")


def _comparing(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for field, toleration in _all_tolerations(spec):
        if toleration.get("operator") in _COMPARING:
            fault = f"{toleration['operator']} is refused by clusters without {_COMPARISON}"
            yield Finding(f"{field}.operator", fault, "Write Exists or Equal")


def _shapes(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, template in templates(spec):
        for key, shape in (("metadata", "ObjectMeta"), ("spec", "PodSpec")):
            yield from findings(shape, mapping(template, key), f"{path}.{key}")


def _once(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, template in templates(spec):
        pod = mapping(template, "spec")
        for key in ("containers", "initContainers", "volumes"):
            names = [(place, each.get("name")) for place, each in entries(f"{path}.spec", pod, key)]
            seen = set()
            for place, name in names:
                if isinstance(name, str) and name in seen:
                    yield Finding(place, f"a second entry is called {name}", "Give each a name of its own")
                seen.add(name if isinstance(name, str) else None)


def _kept(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    """Find what would take out all that was derived, or the container that serves."""
    for path, template in templates(spec):
        for field, part in _removed(path, template):
            yield Finding(field, f"takes out {part}", "Leave it out")


def _removed(path: str, template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "$patch" in template:
        yield f"{path}.$patch", "the whole pod"
    for key in ("metadata", "spec"):
        part = template.get(key)
        if key in template and (part is None or deletes(part)):
            yield f"{path}.{key}", "all that was derived"
    pod = mapping(template, "spec")
    for key in ("containers", "volumes"):
        if key in pod and (pod[key] is None or deletes(pod[key])):
            yield f"{path}.spec.{key}", "all that was derived"
    for place, each in entries(f"{path}.spec", pod, "containers"):
        if deletes(each) and each.get("name") in ("worker", "frontend"):
            yield place, "the container that serves"


def _node_selector(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    yield from findings("PodSpec", {"nodeSelector": spec.placement.node_selector}, "spec.placement")


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("pod-template-keys", "Kubernetes: PodTemplateSpec", _keys),
    Rule("pod-template-names", "docs: spec.prefill.podTemplate", _named),
    Rule("pod-template-labels", "docs: labels of the operator", _labels),
    Rule(
        "pod-template-restricted",
        "https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted",
        _restricted,
        unsafe=True,
    ),
    Rule(
        "pod-template-shape",
        "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/",
        _shapes,
        unsafe=True,
        says="a field that Kubernetes does not know, or a value that it does not take",
    ),
    Rule(
        "pod-template-kept",
        "docs: spec.prefill.podTemplate",
        _kept,
        says="the template takes out what the operator needs in the pod",
    ),
    Rule("pod-template-once", "Kubernetes: PodSpec", _once),
    Rule(
        "toleration-shape",
        "Kubernetes: Toleration",
        _tolerations,
        says="key, operator and value of a toleration do not fit together",
    ),
    Rule(
        "toleration-compares",
        "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/",
        _comparing,
        unsafe=True,
    ),
    Rule(
        "node-selector-shape",
        "Kubernetes: PodSpec.nodeSelector",
        _node_selector,
        says="a label or value that Kubernetes does not take",
    ),
)
