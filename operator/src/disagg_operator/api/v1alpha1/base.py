"""What every part of the API shares: the strict base model and the field types that Kubernetes knows.

Invariants: models are immutable, names are camelCase in YAML and snake_case in Python, and a key that the
API does not know is an error, never ignored.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Base of all API models: strict, immutable, documented by its attribute docstrings."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


Quantity = Annotated[
    int | str,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        }
    ),
]
"""A Kubernetes quantity such as ``2``, ``500m`` or ``16Gi``."""

OpaqueObject = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""An object whose shape belongs to another API (a pod template, an engine's own configuration)."""

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A name made of lower-case letters, digits and dashes, at most 63 long (RFC 1123 label)."""


class LocalObjectReference(ApiModel):
    """A reference to an object in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the object."""


class SecretKeyReference(ApiModel):
    """One key of a Secret in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)] = "token"
    """Key inside the Secret."""


class EnvVar(ApiModel):
    """An environment variable, in the shape of a container's ``env`` entry."""

    name: Annotated[str, Field(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=256)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """Literal value. Give this or valueFrom."""
    value_from: OpaqueObject | None = None
    """Source of the value, as in Kubernetes: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef."""


class ResourceRequirements(ApiModel):
    """Compute resources of the worker container, as in Kubernetes."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = Field(default_factory=dict)
    """What the scheduler reserves, by resource name (cpu, memory, …)."""
    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = Field(default_factory=dict)
    """What the container may not exceed, by resource name."""


def list_map(*keys: str) -> dict[str, Any]:
    """Mark a list field as a map keyed by ``keys``, so that server-side apply merges it entry by entry."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
