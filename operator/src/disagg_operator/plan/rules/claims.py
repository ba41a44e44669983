"""Rules about resource claims in pod templates: what the API server would refuse only once pods are made."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.admission.templates import containers, entries, mapping, templates
from disagg_operator.plan.rules.subject import Subject

_DRA = "https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/"
_SOURCES = ("resourceClaimName", "resourceClaimTemplateName")


def _one_source(subject: Subject) -> Iterator[Finding]:
    for path, template in templates(subject.spec):
        derived = _derived(subject, path)
        for place, claim in _claims(path, template):
            given = [key for key in _SOURCES if claim.get(key)]
            if len(given) > 1:
                fault = "a claim is made from a template or is there already, and this names both"
                yield Finding(place, fault, f"Write one of {' and '.join(_SOURCES)}")
            # A newer Kubernetes may know further sources; a name alone says nothing in any of them.
            elif {*claim} <= {"name"} and claim.get("name") not in derived:
                yield Finding(place, "does not say which claim it is", f"Write {' or '.join(_SOURCES)}")


def _taken_out(subject: Subject) -> Iterator[Finding]:
    """Find templates that take derived claims out, which the pod's container asks for still."""
    for path, template in templates(subject.spec):
        spec = mapping(template, "spec")
        if _derived(subject, path) and "resourceClaims" in spec and not spec["resourceClaims"]:
            fault = "takes out the channel of the ComputeDomain, which the container asks for"
            remedy = "Leave it out, or write computeDomain: {enabled: false}"
            yield Finding(f"{path}.spec.resourceClaims", fault, remedy)


def _listed(subject: Subject) -> Iterator[Finding]:
    for path, template in templates(subject.spec):
        known = _derived(subject, path) | {claim.get("name") for _, claim in _claims(path, template)}
        for place, container in containers(path, template):
            resources = mapping(container, "resources")
            for field, claim in entries(f"{place}.resources", resources, "claims"):
                if claim.get("name") not in known:
                    fault = f"{claim.get('name')} is no claim of the pod"
                    yield Finding(f"{field}.name", fault, f"Add it to {path}.spec.resourceClaims")


def _claims(path: str, template: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return entries(f"{path}.spec", mapping(template, "spec"), "resourceClaims")


def _derived(subject: Subject, path: str) -> set[str]:
    """Return the names of the claims that a pod has without its template."""
    role = subject.plan.roles.get(path.removeprefix("spec.").removesuffix(".podTemplate"))
    return {claim.name for claim in role.pod.claims} if role else set()


RULES: tuple[Rule[Subject], ...] = (
    Rule("claim-one-source", _DRA, _one_source),
    Rule("claim-listed", _DRA, _listed),
    Rule("claim-kept", _DRA, _taken_out),
)
