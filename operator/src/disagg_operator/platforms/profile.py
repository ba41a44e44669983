"""The shape of a profile: every value says why it is there and who says so.

Invariant: a profile is data. It holds no rule that code would have to interpret beyond filling in templates.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ProfileModel(BaseModel):
    """Base of profile models: strict and immutable, so that a typo in a profile fails its test."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(ProfileModel):
    """A value's provenance."""

    reason: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]


class Variable(Sourced):
    """An environment variable.

    Attributes:
        value: a literal, or a jinja2 template over the values that the planner offers.
        field: a field of the pod (Kubernetes' downward API) in place of a value.
    """

    name: str
    value: str | None = None
    field: str | None = None


class PodResources(Sourced):
    """Compute resources of a pod: Kubernetes quantities by resource name."""

    requests: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str] = Field(default_factory=dict)


class Choice(Sourced):
    """A setting chosen by a profile."""

    value: str


class MachineProfile(ProfileModel):
    """What a kind of machine and its fabric ask for.

    Attributes:
        name: what users write into ``spec.platform``.
        description: one sentence for people.
        fabric: name of the network that KV cache crosses.
        nixl_backend: NIXL plugin that drives this fabric.
        security: least privilege with which the fabric works.
        worker_resources: CPU and memory of a worker that runs on CPU.
        frontend_resources: CPU and memory of a frontend pod.
        environment: variables of both roles.
    """

    name: str
    description: str
    fabric: str
    nixl_backend: Choice
    security: Choice
    worker_resources: PodResources
    frontend_resources: PodResources
    environment: tuple[Variable, ...] = ()


class Probe(Sourced):
    """An HTTP probe.

    Attributes:
        path: HTTP path, a jinja2 template.
        period_seconds: time between two tries.
        failure_threshold: failures in a row that count.
        timeout_seconds: time for one answer.
    """

    path: str
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int


class Component(ProfileModel):
    """What one component of a runtime needs.

    Attributes:
        port: port whose HTTP server answers the probes.
        command: argument vector, each word a jinja2 template; empty where the engine decides.
        environment: variables of its container.
        startup, liveness, readiness: probes.
    """

    port: int
    command: tuple[str, ...] = ()
    environment: tuple[Variable, ...] = ()
    startup: Probe
    liveness: Probe
    readiness: Probe


class Takeover(Sourced):
    """When a new revision of the workers may take over: seconds after it is ready."""

    seconds: int


class RuntimeProfile(ProfileModel):
    """One version of a frontend's release: how its parts are started, found, probed and replaced."""

    name: str
    version: str
    takeover: Takeover
    environment: tuple[Variable, ...]
    worker: Component
    frontend: Component
