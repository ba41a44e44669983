"""The facts that conditions and templates of profiles may speak of.

| fact | values |
|---|---|
| engine, frontend | as in ``spec.runtime`` |
| role | prefill, decode |
| nodes | one, several: pods of one model instance |
| racks | several: workers may be in several NVLink domains, as KV cache crosses another fabric; else one |
| fabric | name of the machine's first fabric |
| kind | what sort of network that is: efa, infiniband, mnnvl, tcp, or what an added fabric says |
| fabrics | names of all its fabrics, separated by commas |
| architecture | amd64, arm64, or any |
| method | library that moves KV cache |
| backend | NIXL plugin, or none |
| discovery | where workers register: kubernetes, etcd; static: in a list |
| router | as in ``spec.frontend.routerMode`` |
| nats | on: requests and events go through NATS; else off |
| kvbm | on: the workers keep KV cache in Dynamo's block manager; else off |
| kv_events | on: the workers tell the frontend's router which KV blocks they have; else off |
| local_prefill | on: the frontend's router may leave prompts to decode; else off |
| security | Restricted, IpcLock, Privileged |
| request_seconds, transfer_seconds | ``spec.drain.requestSeconds``, ``spec.transfer.timeoutSeconds`` |
| timeout | written: the user says how long a transfer may take; else default |
| image | efa if its tag says that the EFA SDK is inside (``1.6.1-efa``, ``1.1.1-efa-amd64``), else standard |

Invariant: a condition on another fact, or on a value that a fact never has, is a fault of the profile.
"""

from collections.abc import Mapping

from jinja2 import Environment, TemplateSyntaxError, meta

from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend
from disagg_operator.api.v1alpha1.role import NixlBackend, TransferMethod
from disagg_operator.api.v1alpha1.runtime import Engine, FrontendKind, RouterMode

ONE, SEVERAL = "one", "several"
ANY_ARCHITECTURE = "any"
NO_BACKEND = "none"
ON, OFF = "on", "off"
WITH_EFA, STANDARD = "efa", "standard"
WRITTEN, DEFAULT = "written", "default"

FACTS: Mapping[str, frozenset[str] | None] = {
    "engine": frozenset(Engine),
    "frontend": frozenset(FrontendKind),
    "role": frozenset({"prefill", "decode"}),
    "nodes": frozenset({ONE, SEVERAL}),
    "racks": frozenset({ONE, SEVERAL}),
    "fabric": None,
    "kind": None,
    "fabrics": None,
    "architecture": frozenset({"amd64", "arm64", ANY_ARCHITECTURE}),
    "method": frozenset(TransferMethod),
    "backend": frozenset({*NixlBackend, NO_BACKEND}),
    "discovery": frozenset(DiscoveryBackend),
    "router": frozenset(RouterMode),
    "nats": frozenset({ON, OFF}),
    "kvbm": frozenset({ON, OFF}),
    "kv_events": frozenset({ON, OFF}),
    "local_prefill": frozenset({ON, OFF}),
    "security": frozenset({"Restricted", "IpcLock", "Privileged"}),
    "image": frozenset({WITH_EFA, STANDARD}),
    "timeout": frozenset({WRITTEN, DEFAULT}),
    "request_seconds": None,
    "transfer_seconds": None,
}
"""Facts by name with all values that they may have; None where profiles make the values."""

DEVICES = "devices"
"""What templates of annotations have beside the facts: a pod's devices by resource."""

# Only ever parses: what a profile's template may name is checked without running it.
_PARSER = Environment(autoescape=False)  # noqa: S701


def condition_fault(when: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return what is wrong with a condition, or None."""
    for name, values in when.items():
        if name not in FACTS:
            return f"when: there is no fact {name!r}; write one of: {', '.join(FACTS)}"
        known = FACTS[name]
        strange = [] if known is None else [value for value in values if value not in known]
        if strange:
            allowed = ", ".join(sorted(known or ()))
            return f"when: {name} is never {strange[0]!r}; write one of: {allowed}"
    return None


def template_fault(template: str, *, more: frozenset[str] = frozenset()) -> str | None:
    """Return what is wrong with a template over the facts, or None.

    Args:
        template: a jinja2 template.
        more: names of further values that it may use.
    """
    try:
        used = meta.find_undeclared_variables(_PARSER.parse(template))
    except TemplateSyntaxError as error:
        return f"not a template: {error.message}"
    unknown = sorted(used - FACTS.keys() - more)
    return f"the template uses {unknown[0]!r}, which is no fact" if unknown else None
