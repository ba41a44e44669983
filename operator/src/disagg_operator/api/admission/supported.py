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


_REFERENCE = "the reference engine computes on CPU"
_ONE_PLUGIN = "Write UCX: the reference engine's image holds no other plugin (docs/engines.md)"
_MOCKER = "Dynamo's mocker computes nothing"


def _without_gpus(role: str, why: str) -> tuple[Supported, ...]:
    sizes = ("tensor", "pipeline", "context", "expert")
    return (
        Supported(f"{role}.gpus_per_node", (0,), f"Leave it out: {why}"),
        *(Supported(f"{role}.parallelism.{size}", (1,), f"Write 1 or leave it out: {why}") for size in sizes),
    )


DYNAMO_TABLE: tuple[Supported, ...] = (
    Supported("frontend.router_mode", (RouterMode.ROUND_ROBIN, RouterMode.RANDOM, RouterMode.KV)),
)
"""What is not built with Dynamo's frontend. What trtllm-serve cannot do, its releases say."""

REFERENCE_TABLE: tuple[Supported, ...] = (
    Supported("transfer.method", (TransferMethod.NIXL,)),
    Supported("transfer.nixl_backend", (NixlBackend.UCX,), _ONE_PLUGIN),
    Supported("transfer.max_tokens_in_buffer"),
    Supported("transfer.kvbm"),
    *_without_gpus("prefill", _REFERENCE),
    *_without_gpus("decode", _REFERENCE),
)
"""What the reference engine does not do."""

MOCKER_TABLE: tuple[Supported, ...] = (
    Supported("transfer.method", (TransferMethod.NIXL,)),
    Supported("transfer.nixl_backend", (NixlBackend.UCX,)),
    Supported("transfer.max_tokens_in_buffer"),
    Supported("transfer.kvbm"),
    Supported("prefill.nodes_per_replica", (1,)),
    Supported("decode.nodes_per_replica", (1,)),
    *_without_gpus("prefill", _MOCKER),
    *_without_gpus("decode", _MOCKER),
)
"""What Dynamo's mocker has no use for."""

ARGUMENTS_TABLE: tuple[Supported, ...] = (
    Supported("transfer.max_tokens_in_buffer", (), "Leave it out: it is a buffer of TensorRT-LLM's"),
)
"""What vLLM and SGLang have no use for."""

OF_ENGINE = {
    Engine.REFERENCE: REFERENCE_TABLE,
    Engine.MOCKER: MOCKER_TABLE,
    Engine.VLLM: ARGUMENTS_TABLE,
    Engine.SGLANG: ARGUMENTS_TABLE,
}


def _find(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    rows: list[Supported] = [*OF_ENGINE.get(spec.runtime.engine, ())]
    if spec.runtime.frontend is FrontendKind.DYNAMO:
        rows += DYNAMO_TABLE
    for row in rows:
        yield from row.find(spec)


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("not-supported-yet", SOURCE, _find, says="a field that no version builds yet"),
)
