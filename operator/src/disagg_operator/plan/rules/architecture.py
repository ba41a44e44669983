"""Rules about processors: the image, and the nodes that the user chooses, against the machine's."""

import re
from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.plan.hardware import ARCHITECTURE_LABEL
from disagg_operator.plan.rules.subject import Subject

_NODES = "https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch"
_IMAGES = "https://docs.nvidia.com/dynamo/latest/resources/release-artifacts"
_TAG = re.compile(r":[^/:@]*?\b(amd64|arm64)\b[^/:@]*(?:@|$)")


def _other_nodes(subject: Subject) -> Iterator[Finding]:
    machine = subject.platform.machine
    chosen = subject.spec.placement.node_selector.get(ARCHITECTURE_LABEL)
    if machine.architecture is not None and chosen not in (None, machine.architecture.value):
        fault = (
            f"{machine.name} is {machine.architecture.value}, and pods are kept to nodes that are {chosen}"
        )
        field = f"spec.placement.nodeSelector[{ARCHITECTURE_LABEL}]"
        yield Finding(
            field, fault, "Leave it out, or write it into frontend.podTemplate for the frontend alone"
        )


def _other_image(subject: Subject) -> Iterator[Finding]:
    machine, image = subject.platform.machine, subject.spec.runtime.image or ""
    tagged = _TAG.search(image)
    if machine.architecture is not None and tagged and tagged[1] != machine.architecture.value:
        fault = f"the tag says {tagged[1]}, and {machine.name} is {machine.architecture.value}"
        yield Finding("spec.runtime.image", fault, "Write an image of that architecture, or of several")


RULES: tuple[Rule[Subject], ...] = (
    Rule("nodes-of-architecture", _NODES, _other_nodes, severity=Severity.WARN),
    Rule("image-of-architecture", _IMAGES, _other_image, severity=Severity.WARN),
)
