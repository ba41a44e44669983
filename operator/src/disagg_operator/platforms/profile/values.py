"""Values of profiles: each says why it is there and who says so, and may hold for some pods only."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from disagg_operator.platforms.vocabulary import condition_fault

Document = dict[str, Any]
"""A profile as YAML has it."""


class ProfileModel(BaseModel):
    """Base of profile models: strict and immutable, so that a typo in a profile fails its test."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(ProfileModel):
    """A value's provenance.

    Attributes:
        reason: why the value is there, a sentence for people.
        source: the document, thread or measurement that says so.
        line: file and line of the profile; filled in by the loader.
    """

    reason: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    line: str = ""


class Conditional(Sourced):
    """A value that may hold for some pods only.

    Attributes:
        when: facts and the values that each must have one of, such as ``{role: [decode], nodes: [several]}``.
            `platforms.vocabulary` says which facts there are. Empty: always.
    """

    when: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_facts(self) -> "Conditional":
        fault = condition_fault(self.when)
        if fault is not None:
            raise ValueError(fault)
        return self


class Choice(Conditional):
    """A setting chosen by a profile, or one of several: the first that applies is the default."""

    value: str


class PodResources(Sourced):
    """Compute resources of a pod: Kubernetes quantities by resource name."""

    requests: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str] = Field(default_factory=dict)


class Probe(Sourced):
    """An HTTP probe.

    Attributes:
        path: HTTP path, a jinja2 template.
        period_seconds: time between two tries.
        failure_threshold: failures in a row that count.
        timeout_seconds: time for one answer.
        grace_seconds: of a liveness probe, the time that a container gets to end which failed it; None for
            the pod's.
    """

    path: str
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int
    grace_seconds: int | None = None
