"""Rules about compute resources and devices."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, roles
from disagg_operator.api.admission.shapes import findings
from disagg_operator.api.kubernetes.forms import HUGE_PAGES, RESOURCE
from disagg_operator.api.quantities import quantity
from disagg_operator.api.v1alpha1.base import ResourceRequirements
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

GPU = "nvidia.com/gpu"
_SHARED = ("cpu", "memory", "ephemeral-storage")
"""What a container may use more of than was reserved for it."""


def _requirements(spec: DisaggDeploymentSpec) -> Iterator[tuple[str, ResourceRequirements]]:
    given = {path: role.resources for path, role in roles(spec)}
    given["spec.frontend"] = spec.frontend.resources
    for path, resources in given.items():
        if resources is not None:
            yield f"{path}.resources", resources


def _within_limits(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, given in _requirements(spec):
        for name, request in given.requests.items():
            limit = given.limits.get(name)
            asked, most = quantity(request), quantity(limit)
            if asked is not None and most is not None and asked > most:
                fault = f"{request} is above the limit {limit}"
                yield Finding(entry(path, "requests", name), fault, "Lower the request or raise the limit")


def _gpus(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    remedy = "Write gpusPerNode instead"
    fault = f"{GPU} is derived from gpusPerNode"
    for path, given in _requirements(spec):
        for kind, named in (("requests", given.requests), ("limits", given.limits)):
            if GPU in named:
                yield Finding(entry(path, kind, GPU), fault, remedy)
    for path, role in roles(spec):
        if GPU in (role.devices or {}):
            yield Finding(entry(path, "devices", GPU), fault, remedy)


def _device_names(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, role in roles(spec):
        for name in role.devices or {}:
            if "/" not in name:
                remedy = (
                    "Write its full name, such as vpc.amazonaws.com/efa; cpu and memory go into resources"
                )
                yield Finding(entry(path, "devices", name), "is no extended resource", remedy)


def entry(path: str, kind: str, name: str) -> str:
    """Return the path of a named resource, such as ``spec.decode.devices[vpc.amazonaws.com/efa]``."""
    return f"{path}.{kind}.{name}" if name.isidentifier() else f"{path}.{kind}[{name}]"


def _names(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, given in _requirements(spec):
        yield from findings(
            "ResourceRequirements", {"requests": given.requests, "limits": given.limits}, path
        )
    for path, role in roles(spec):
        for name in role.devices or {}:
            if "/" in name and not RESOURCE.fits(name):
                fault = "is no name that Kubernetes takes for a resource"
                yield Finding(entry(path, "devices", name), fault, f"Write {RESOURCE.words}")


def _not_shared(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    """Find devices and huge pages, of which nobody gets more than was reserved, but by halves."""
    for path, given in _requirements(spec):
        for name in {**given.requests, **given.limits}:
            if name in _SHARED:
                continue
            most, asked = given.limits.get(name), given.requests.get(name)
            limit, request = quantity(most), quantity(asked)
            if limit is None:
                yield Finding(entry(path, "limits", name), "is missing", f"Write {asked}, as in requests")
            elif request is not None and request != limit:
                fault = f"{asked} is not the limit, {most}, and of {name} nobody gets more than is reserved"
                yield Finding(entry(path, "requests", name), fault, "Write the same in both")
            elif (page := quantity(name.removeprefix(HUGE_PAGES))) and (limit % page or not limit):
                yield Finding(
                    entry(path, "limits", name), f"{most} is no multiple of a page", "Write whole pages"
                )
            elif "/" in name and limit != int(limit):
                yield Finding(
                    entry(path, "limits", name), f"{most} is no whole number", "Write whole devices"
                )


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule(
        "requests-within-limits",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
        _within_limits,
    ),
    Rule("resource-names", "Kubernetes: ResourceRequirements", _names),
    Rule(
        "resources-not-shared",
        "https://kubernetes.io/docs/tasks/configure-pod-container/extended-resource/",
        _not_shared,
        says="a device cannot be shared: its limit is missing or another than its request",
    ),
    Rule("gpus-by-field", "docs: spec.prefill.gpusPerNode", _gpus),
    Rule(
        "device-names",
        "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/",
        _device_names,
        says="the name of a device is no extended resource of Kubernetes",
    ),
)
