"""Fabrics: networks that KV cache crosses, and what they ask of the pods on them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from disagg_operator.api.transport import Transport
from disagg_operator.platforms.profile.layer import HardwareLayer
from disagg_operator.platforms.profile.values import Choice, Conditional, Sourced


class Security(Conditional):
    """A security context with which the fabric works; the first that applies is the default.

    Attributes:
        mode: what users write into ``spec.security.mode``.
        capabilities: Linux capabilities that are added.
        proven: whether a primary source ran it; an unproven one is offered with a warning.
    """

    mode: Literal["Restricted", "IpcLock", "Privileged"]
    capabilities: tuple[str, ...] = ()
    proven: bool = True


class Together(Conditional):
    """All workers of a deployment share one value of a node label.

    Attributes:
        topology_key: the label.
        required: whether workers wait rather than be split.
    """

    topology_key: str
    required: bool = True


class Apart(Conditional):
    """No node has both a prefill and a decode worker."""


class Domain(Sourced):
    """An NVLink domain that spans nodes, which a ComputeDomain opens to pods.

    Attributes:
        max_nodes: nodes of the largest domain.
        clique_label: node label whose value is the same on all nodes of one domain.
    """

    max_nodes: Annotated[int, Field(ge=1)]
    clique_label: str


class PromisedTransport(Conditional):
    """A transport that is as good as the fabric promises.

    Attributes:
        value: the transport, as `api.transport` names it.
    """

    value: Transport


class Counters(Conditional):
    """What the transport agent must be given to see the fabric's byte counters.

    Attributes:
        value: ``node-sys``, the node's /sys, read-only; or ``gpus``, the node's GPUs, to ask NVML.
    """

    value: Literal["node-sys", "gpus"]


class FabricProfile(HardwareLayer):
    """A network that KV cache crosses.

    Attributes:
        name: what machine profiles call it.
        kind: what sort of network it is, such as ``efa``; a fabric that is like another inherits its kind, by
            which conditions and rules know it. Its name where nothing is said.
        description: one sentence for people.
        guide: where the documentation says what it takes beside what a plan holds, such as settings of the
            network; empty where nothing.
        nixl_backends: NIXL plugins that drive it, the default first.
        promises: transports that KV cache may be expected to move over; none where anything will do.
        security: security contexts with which it works, the default first.
        together: placement of all workers of a deployment; the first that applies.
        apart: whether prefill and decode must be on different nodes.
        domain: the NVLink domain, for a fabric that is one.
        libfabric: least version of libfabric; the first that applies.
        counters: what the transport agent must be given to see byte counters; none where it sees them anyway.
    """

    name: str
    kind: str = ""
    description: str
    guide: str = ""
    nixl_backends: Annotated[tuple[Choice, ...], Field(min_length=1)]
    promises: tuple[PromisedTransport, ...] = ()
    security: Annotated[tuple[Security, ...], Field(min_length=1)]
    together: tuple[Together, ...] = ()
    apart: Apart | None = None
    domain: Domain | None = None
    libfabric: tuple[Choice, ...] = ()
    counters: tuple[Counters, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _own_kind(cls, document: Any) -> Any:
        return {"kind": document.get("name"), **document} if isinstance(document, Mapping) else document
