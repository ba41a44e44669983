"""What any profile may add to worker pods, entry by entry.

Invariant: within one list, names are unique, so that one profile can be laid over another.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from disagg_operator.api.v1alpha1.patterns import ABSOLUTE_PATH, DNS_LABEL, QUALIFIED_NAME, VARIABLE
from disagg_operator.platforms.profile.values import Conditional, ProfileModel
from disagg_operator.platforms.vocabulary import DEVICES, template_fault

VariableName = Annotated[str, Field(pattern=VARIABLE)]
QualifiedName = Annotated[str, Field(pattern=QUALIFIED_NAME)]
VolumeName = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]
AbsolutePath = Annotated[str, Field(pattern=ABSOLUTE_PATH)]


class Variable(Conditional):
    """An environment variable.

    Attributes:
        value: a literal, or a jinja2 template over the facts and values that the planner offers.
        field: a field of the pod (Kubernetes' downward API) in place of a value.
    """

    name: VariableName
    value: str | None = None
    field: str | None = None


class Device(Conditional):
    """An extended resource that workers ask for. Exactly one of the counts is set.

    Attributes:
        name: name of the resource, such as ``vpc.amazonaws.com/efa``.
        per_node: devices of a whole node; a pod gets a part in proportion to its GPUs, at least one.
        per_gpu: devices for each GPU of a pod, where only the node itself knows how many it has.
        per_pod: devices of each pod, where one slot stands for access to all adapters.
        on_node: devices of a whole node where a pod does not get them in proportion; they bound its pods.
    """

    name: QualifiedName
    per_node: Annotated[int, Field(ge=1)] | None = None
    per_gpu: Annotated[int, Field(ge=1)] | None = None
    per_pod: Annotated[int, Field(ge=1)] | None = None
    on_node: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_count(self) -> "Device":
        if [self.per_node, self.per_gpu, self.per_pod].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ValueError("needs exactly one of per_node, per_gpu and per_pod; write one of them")
        return self


class HugePages(Conditional):
    """Huge pages of each pod, as many requested as limited.

    Attributes:
        name: name of the resource, such as ``hugepages-2Mi``.
        quantity: how much of it, as a Kubernetes quantity.
        variables: variables of the workers and the values that each must have one of; the library that reads
            them uses huge pages then, and no pod has any that does not ask for them.
    """

    name: QualifiedName
    quantity: str
    variables: Mapping[str, tuple[str, ...]]


class HostMount(Conditional):
    """A directory of the node that workers see.

    Attributes:
        name: name of the volume.
        path: where the container sees it.
        host_path: directory on the node.
    """

    name: VolumeName
    path: AbsolutePath
    host_path: AbsolutePath
    read_only: bool = True


class Annotation(Conditional):
    """An annotation of worker pods.

    Attributes:
        value: a jinja2 template over the facts and ``devices``, the pod's devices by resource; an annotation
            whose value comes out empty is left out.
    """

    name: QualifiedName
    value: str


class NodeLabel(Conditional):
    """A label that nodes of workers must have."""

    name: QualifiedName
    value: str


class Toleration(Conditional):
    """A taint that workers tolerate. Without a value, any value is tolerated.

    Attributes:
        name: key of the taint.
    """

    name: QualifiedName
    value: str | None = None
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] = "NoSchedule"


class Layer(ProfileModel):
    """What one profile adds to worker pods.

    Attributes:
        environment: variables of the workers.
        devices: extended resources.
        huge_pages: huge pages.
        mounts: directories of the node.
        annotations: annotations of the pods.
        node_labels: labels that nodes must have.
        tolerations: taints that are tolerated.
    """

    environment: tuple[Variable, ...] = ()
    devices: tuple[Device, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()
    mounts: tuple[HostMount, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    node_labels: tuple[NodeLabel, ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @model_validator(mode="after")
    def _unique_names(self) -> "Layer":
        for key in Layer.model_fields:
            names = [entry.name for entry in getattr(self, key)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{key} holds {', '.join(twice)} twice; make one entry of them")
        return self


class HardwareLayer(Layer):
    """A layer whose templates are over the facts alone."""

    @model_validator(mode="after")
    def _known_values(self) -> "HardwareLayer":
        for variable in self.environment:
            _check(variable.name, variable.value or "")
        for annotation in self.annotations:
            _check(annotation.name, annotation.value, more=frozenset({DEVICES}))
        return self


def _check(name: str, template: str, more: frozenset[str] = frozenset()) -> None:
    fault = template_fault(template, more=more)
    if fault is not None:
        raise ValueError(f"{name}: {fault}")
