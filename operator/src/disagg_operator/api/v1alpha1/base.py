"""What every part of the API shares: the strict base model and the field types that Kubernetes knows.

Invariants: models are immutable, names are camelCase in YAML and snake_case in Python, a key that the
API does not know is an error, never ignored, and null means absent.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from disagg_operator.api.v1alpha1.markers import cel, rules
from disagg_operator.api.v1alpha1.patterns import (
    DNS_LABEL,
    OBJECT_NAME,
    QUANTITY,
    SECRET_KEY,
    SHARE,
    VARIABLE,
    WORDS,
)
from disagg_operator.api.v1alpha1.variables import BACKENDS, MISSPELT_PLUGIN_FOLDER, NIXL_BACKEND


def without_nulls(data: Any) -> Any:
    """Return a map without its null entries.

    The API server drops them before it fills in defaults; files must mean the same offline.
    """
    if isinstance(data, dict):
        return {key: value for key, value in data.items() if value is not None}
    return data


Sparse = BeforeValidator(without_nulls)
"""Marks a map of free keys whose null entries count as absent."""


class ApiModel(BaseModel):
    """Base of all API models: strict, immutable, documented by its attribute docstrings."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        return without_nulls(data)


def _written(pattern: str, called: str) -> Callable[[Any], int | str]:
    """Return the check of a field that holds a whole number or text of a pattern."""

    def check(given: Any) -> int | str:
        if isinstance(given, bool) or not isinstance(given, int | str):
            fault = "must be a whole number or text"
        elif not re.fullmatch(pattern, str(given)):
            fault = f"{str(given)[:60]!r} is no {called}"
        else:
            return given
        raise PydanticCustomError(called, "{fault}", {"fault": fault, "remedy": f"Write {WORDS[pattern]}"})

    return check


Quantity = Annotated[
    int | str,
    PlainValidator(_written(QUANTITY, "quantity")),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY, "maxLength": 64}),
]
"""A Kubernetes quantity such as ``2``, ``500m`` or ``16Gi``, never negative."""

Share = Annotated[
    int | str,
    PlainValidator(_written(SHARE, "number of instances")),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": SHARE, "maxLength": 4}),
]
"""Model instances: a whole number, or a percentage of the replicas such as ``25%``."""

OpaqueObject = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""An object whose shape belongs to another API (a pod template, an engine's own configuration)."""

DnsLabel = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]
"""A name made of lower-case letters, digits and dashes, at most 63 long (RFC 1123 label)."""

ObjectName = Annotated[str, Field(pattern=OBJECT_NAME, max_length=253)]
"""A name of a Kubernetes object (RFC 1123 subdomain)."""


class LocalObjectReference(ApiModel):
    """A reference to an object in the same namespace."""

    name: ObjectName
    """Name of the object."""


class SecretKeyReference(ApiModel):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, Field(pattern=SECRET_KEY, max_length=253)] = "token"
    """Key inside the Secret."""


class EnvVar(ApiModel):
    """An environment variable, in the shape of a container's ``env`` entry."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                f"self.name != '{MISSPELT_PLUGIN_FOLDER}'",
                "NIXL does not read it: write NIXL_PLUGIN_DIR",
                ".name",
            ),
            cel(
                f"self.name != '{NIXL_BACKEND}' || !has(self.value) || self.value in {list(BACKENDS)}",
                f"TensorRT-LLM does not know it: write {' or '.join(BACKENDS)}",
                ".value",
            ),
        )
    )

    name: Annotated[str, Field(pattern=VARIABLE, max_length=256)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """Literal text; numbers and true/false in quotes. Give this or valueFrom. Default: empty."""
    value_from: OpaqueObject | None = None
    """Source of the value, one of secretKeyRef, configMapKeyRef, fieldRef and resourceFieldRef, as in a
    pod."""


class ResourceRequirements(ApiModel):
    """Compute resources of a container, as in a pod."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32), Sparse] = Field(default_factory=dict)
    """What the scheduler reserves, by resource: cpu in cores (2, 500m), memory in bytes (16Gi)."""
    limits: Annotated[dict[str, Quantity], Field(max_length=32), Sparse] = Field(default_factory=dict)
    """What the container may not exceed, by resource, in the same units as requests."""
