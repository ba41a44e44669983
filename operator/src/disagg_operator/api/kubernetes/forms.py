"""What Kubernetes takes as the texts, numbers and keys of a pod, where its OpenAPI document does not say so.

The rules are those of its validation (kubernetes/kubernetes: pkg/apis/core/validation/validation.go and
k8s.io/apimachinery/pkg/util/validation). Each was held against a real API server (tests/generated).
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.quantities import quantity
from disagg_operator.api.v1alpha1.patterns import (
    DNS_LABEL,
    LABEL_VALUE,
    OBJECT_NAME,
    QUALIFIED_NAME,
    SECRET_KEY,
    WORDS,
)


@dataclass(frozen=True)
class Form:
    """A condition on a value.

    Attributes:
        fits: tells whether a value meets it.
        words: what to write, after "Write".
    """

    fits: Callable[[Any], bool]
    words: str


def _pattern(pattern: str, longest: int) -> Form:
    compiled = re.compile(pattern.removesuffix("$") + r"\Z")

    def fits(value: Any) -> bool:
        return len(value) <= longest and compiled.match(value) is not None

    return Form(fits, f"{WORDS[pattern]}, at most {longest} long")


def _between(low: int, high: int) -> Form:
    return Form(lambda value: low <= value <= high, f"a number from {low} to {high}")


def _address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _resource_name(value: str) -> bool:
    if value.startswith(HUGE_PAGES):
        return bool(quantity(value.removeprefix(HUGE_PAGES)))
    return value in _RESOURCES or ("/" in value and QUALIFIED.fits(value))


def form_of(shape: str, field: str, beside: Mapping[str, Any]) -> Form | None:
    """Return the condition on a field's value, if there is one.

    Args:
        shape: of the object.
        field: its name.
        beside: the whole object, since one field may decide on another.
    """
    if (shape, field) == ("ResourceFieldSelector", "divisor"):
        return _divisor(str(beside.get("resource")))
    return FORMS.get((shape, field))


def _divisor(resource: str) -> Form:
    """Return what Kubernetes takes as the divisor of a resource that a variable tells."""
    if resource.endswith(".cpu"):
        return Form(lambda value: quantity(value) in _PARTS_OF_CPUS, "1 or 1m")
    return Form(lambda value: quantity(value) in _PARTS_OF_BYTES, "1, or 1 with a suffix such as Mi or G")


def _field_path(value: str) -> bool:
    return value in _FIELDS or re.fullmatch(r"metadata\.(labels|annotations)\['[^']+'\]", value) is not None


HUGE_PAGES = "hugepages-"
"""What names of huge pages begin with; their size follows."""
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
_PARTS_OF_CPUS = {quantity(text) for text in ("0", "1", "1m")}
_PARTS_OF_BYTES = {quantity(text) for text in ("0", "1", "1k", "1Ki")} | {
    quantity(f"1{prefix}{binary}") for prefix in "MGTPE" for binary in ("", "i")
}
_LONGEST_PORT_NAME = 15
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")

LABEL = _pattern(DNS_LABEL, 63)
NAME = _pattern(OBJECT_NAME, 253)
QUALIFIED = _pattern(QUALIFIED_NAME, 317)
VALUE = _pattern(LABEL_VALUE, 63)
KEY = _pattern(SECRET_KEY, 253)
RESOURCE = Form(_resource_name, f"{', '.join(_RESOURCES)}, or a name such as example.com/device")
VARIABLE = Form(
    lambda text: bool(text) and "=" not in text and text.isascii() and text.isprintable(),
    "printable ASCII without =",
)
ADDRESS = Form(_address, "an IP address")
IMAGE = Form(lambda text: text == text.strip() and bool(text), "an image reference without spaces around it")
PORT = _between(1, 65535)
PORT_NAME = Form(
    lambda text: len(text) <= _LONGEST_PORT_NAME and _PORT_NAME.match(text) is not None,
    f"at most {_LONGEST_PORT_NAME} lower-case letters, digits and single dashes, one letter among them",
)
AT_LEAST_0, AT_LEAST_1 = _between(0, 2**31 - 1), _between(1, 2**31 - 1)
SECONDS = _between(0, 2**63 - 1)
USER = _between(0, 2**31 - 1)
FIELD = Form(
    _field_path, f"one of: {', '.join(_FIELDS)}, metadata.labels['KEY'], metadata.annotations['KEY']"
)
CONTAINER_RESOURCE = Form(
    lambda text: (
        re.fullmatch(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)", text) is not None
    ),
    "limits. or requests. and cpu, memory, ephemeral-storage or hugepages-SIZE",
)
NOT_EMPTY = Form(bool, "a value")
ALWAYS = Form(lambda text: text == "Always", "Always, or leave it out: such pods do not end by themselves")
NEVER = Form(lambda _: False, "nothing: leave it out, a pod template cannot have it")

_PROBE = {
    **dict.fromkeys(("periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"), AT_LEAST_0),
    "initialDelaySeconds": AT_LEAST_0,
    "terminationGracePeriodSeconds": _between(1, 2**63 - 1),
}

FORMS: Mapping[tuple[str, str], Form] = {
    **{("Probe", field): form for field, form in _PROBE.items()},
    **{(shape, "name"): LABEL for shape in ("Container", "EphemeralContainer", "Volume", "PodResourceClaim")},
    **{(shape, "image"): IMAGE for shape in ("Container", "EphemeralContainer")},
    **{("PodSpec", field): LABEL for field in ("hostname", "subdomain")},
    **{
        ("PodSpec", field): NAME
        for field in (
            "serviceAccountName",
            "serviceAccount",
            "priorityClassName",
            "runtimeClassName",
            "nodeName",
        )
    },
    **{
        (shape, "name"): NAME
        for shape in ("SecretKeySelector", "ConfigMapKeySelector", "LocalObjectReference")
    },
    **{(shape, "name"): NAME for shape in ("ConfigMapEnvSource", "SecretEnvSource", "ConfigMapVolumeSource")},
    **{(shape, "key"): KEY for shape in ("SecretKeySelector", "ConfigMapKeySelector")},
    **{(shape, "topologyKey"): QUALIFIED for shape in ("TopologySpreadConstraint", "PodAffinityTerm")},
    **{("SecurityContext", field): USER for field in ("runAsUser", "runAsGroup")},
    **{
        ("PodSecurityContext", field): USER
        for field in ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups")
    },
    ("PodSpec", "terminationGracePeriodSeconds"): SECONDS,
    ("PodSpec", "activeDeadlineSeconds"): NEVER,
    ("PodSpec", "ephemeralContainers"): NEVER,
    ("PodSpec", "restartPolicy"): ALWAYS,
    ("PodSpec", "nodeSelector"): VALUE,
    ("ObjectMeta", "labels"): VALUE,
    ("LabelSelector", "matchLabels"): VALUE,
    ("PersistentVolumeClaimVolumeSource", "claimName"): NAME,
    ("SecretVolumeSource", "secretName"): NAME,
    ("EnvVar", "name"): VARIABLE,
    ("ContainerPort", "containerPort"): PORT,
    ("ContainerPort", "hostPort"): _between(0, 65535),
    ("ContainerPort", "name"): PORT_NAME,
    ("VolumeMount", "mountPath"): NOT_EMPTY,
    ("VolumeMount", "name"): NOT_EMPTY,
    ("HostPathVolumeSource", "path"): NOT_EMPTY,
    ("TopologySpreadConstraint", "maxSkew"): AT_LEAST_1,
    ("PodReadinessGate", "conditionType"): QUALIFIED,
    ("Toleration", "key"): Form(lambda text: not text or QUALIFIED.fits(text), QUALIFIED.words),
    ("Toleration", "value"): VALUE,
    ("HostAlias", "ip"): ADDRESS,
    ("PodDNSConfig", "nameservers"): ADDRESS,
    ("ObjectFieldSelector", "fieldPath"): FIELD,
    ("ObjectFieldSelector", "apiVersion"): Form(lambda text: text in ("", "v1"), "v1"),
    ("ResourceFieldSelector", "resource"): CONTAINER_RESOURCE,
}
"""Conditions on values, by shape and field; of a list or map, on its entries."""

KEYS: Mapping[tuple[str, str], Form] = {
    ("ObjectMeta", "labels"): QUALIFIED,
    ("ObjectMeta", "annotations"): QUALIFIED,
    ("PodSpec", "nodeSelector"): QUALIFIED,
    ("LabelSelector", "matchLabels"): QUALIFIED,
    ("ResourceRequirements", "requests"): RESOURCE,
    ("ResourceRequirements", "limits"): RESOURCE,
}
"""Conditions on the keys of maps."""
