"""What this version of the operator runs. Everything else that the API models is refused.

A row of the table names a field and the values that work today; an absent field always works.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.v1alpha1.role import NixlBackend, TransferMethod
from disagg_operator.api.v1alpha1.runtime import Engine, FrontendKind, RouterMode
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

SOURCE = "README: what works today"


@dataclass(frozen=True)
class Supported:
    """The values of one field that work today.

    Attributes:
        path: attribute path below the specification.
        values: what works beside leaving the field out; none if only that works.
        instead: the remedy, where it is not simply one of ``values``.
    """

    path: str
    values: tuple[Any, ...] = ()
    instead: str = ""

    def find(self, spec: DisaggDeploymentSpec) -> Iterator[Finding]:
        """Return a finding if the field holds something else."""
        given = _value(spec, self.path)
        if given is None or given in self.values:
            return
        shown = "this field" if isinstance(given, BaseModel | dict | list) else f"{_shown(given)}"
        field = ".".join(["spec", *(to_camel(part) for part in self.path.split("."))])
        yield Finding(field, f"not supported yet: {shown}", self.instead or self._remedy())

    def _remedy(self) -> str:
        written = [_shown(value) for value in self.values if value != {}]
        return f"Write {' or '.join(written)}" if written else "Leave it out"


def _value(spec: DisaggDeploymentSpec, path: str) -> Any:
    found: Any = spec
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_ON_CPU = "Write 1 or leave it out: the reference engine computes on CPU"
_SOURCES = "Use runtimeImage or persistentVolumeClaim"


def _reference_role(role: str) -> tuple[Supported, ...]:
    sizes = ("tensor", "pipeline", "context", "expert")
    return (
        Supported(f"{role}.gpus_per_node", (0,), "Leave it out: the reference engine computes on CPU"),
        *(Supported(f"{role}.parallelism.{size}", (1,), _ON_CPU) for size in sizes),
    )


TABLE: tuple[Supported, ...] = (Supported("runtime.engine", (Engine.REFERENCE, Engine.TRTLLM)),)
"""Fields whose values are not all built. Fields that are not here work in full."""

DYNAMO_TABLE: tuple[Supported, ...] = (
    Supported("frontend.router_mode", (RouterMode.ROUND_ROBIN, RouterMode.RANDOM)),
)
"""What is not built with Dynamo's frontend. What trtllm-serve cannot do, its releases say."""

REFERENCE_TABLE: tuple[Supported, ...] = (
    Supported("model.source.hugging_face", (), _SOURCES),
    Supported("model.source.image", (), _SOURCES),
    Supported("transfer.method", (TransferMethod.NIXL,)),
    Supported("transfer.nixl_backend", (NixlBackend.UCX,)),
    Supported("transfer.max_tokens_in_buffer"),
    Supported("transfer.kvbm"),
    *_reference_role("prefill"),
    *_reference_role("decode"),
)
"""What the reference engine does not do."""


def _find(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    rows = [*TABLE]
    if spec.runtime.frontend is FrontendKind.DYNAMO:
        rows += DYNAMO_TABLE
    if spec.runtime.engine is Engine.REFERENCE:
        rows += REFERENCE_TABLE
    for row in rows:
        yield from row.find(spec)


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (Rule("not-supported-yet", SOURCE, _find),)
