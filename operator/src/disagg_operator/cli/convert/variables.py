"""Environment variables of workers: to fields of their own where there are such, or to ``env``."""

from disagg_operator.api.admission.variables import WIRING
from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend
from disagg_operator.api.v1alpha1.variables import BACKENDS, KVBM_BACKEND, KVBM_NO, KVBM_YES, NIXL_BACKEND
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.graph import Component, Variable
from disagg_operator.cli.convert.model import HUB_HOME, TOKEN_VARIABLES
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Cast, Worker
from disagg_operator.plan.model import PREFILL

_NIXL_BACKENDS = (NIXL_BACKEND, "SGLANG_DISAGGREGATION_NIXL_BACKEND", "NIXL_BACKEND")
"""TensorRT-LLM: envUtils.cpp; SGLang: disaggregation/nixl; others read the last."""
_FRONTEND = ("DYN_", "OTEL_", "RUST_")
"""Begin the variables that a frontend reads, among those of the whole graph."""
_KVBM = "DYN_KVBM_"
_KVBM_SIZES = {"DYN_KVBM_CPU_CACHE_GB": "cpuCacheGb", "DYN_KVBM_DISK_CACHE_GB": "diskCacheGb"}
_REPLACED = ("DYN_TRTLLM_", "DYN_VLLM_", "DYN_SGL_")


def read_discovery(draft: Draft, component: Component) -> None:
    """Read the variables by which a component finds the others."""
    for variable in component.variables():
        value = variable.value or ""
        if variable.name == "NATS_SERVER" and value:
            _write(draft, "spec.discovery.nats.server", value, variable.part)
        elif variable.name == "ETCD_ENDPOINTS" and value:
            urls = [url if "://" in url else f"http://{url}" for url in value.split(",")]
            _write(draft, "spec.discovery.etcd.endpoints", urls, variable.part)
        elif variable.name == "DYN_DISCOVERY_BACKEND" and value in list(DiscoveryBackend):
            _write(draft, "spec.discovery.backend", value, variable.part)
        elif variable.name == "DYN_REQUEST_PLANE":
            read_request_plane(draft, value, variable.part)


def read_request_plane(draft: Draft, plane: str, part: Part) -> None:
    """Read how requests go to workers: through NATS where it is named, and directly otherwise."""
    if plane != "nats":
        draft.ledger.derived(part, "requests go directly to workers where no NATS is named")
        return
    if draft.read("spec.discovery.nats") is None:
        draft.write("spec.discovery.nats.managed", value=True)
    draft.note("spec.discovery.nats", part, why="requests go through NATS where there is one")


def _write(draft: Draft, to: str, value: object, part: Part) -> None:
    if to == "spec.discovery.nats.server":
        draft.write("spec.discovery.nats", {})
    draft.write(to, value, part)


def offer_variables(draft: Draft, cast: Cast) -> None:
    """Offer the variables of both roles."""
    variables = [each for worker in cast.workers for each in worker.component.variables()]
    read = {each.part.place for each in variables if draft.ledger.knows(each.part)}
    for worker in cast.workers:
        counting = worker.component.effective()
        for variable in worker.component.variables():
            if variable.part != counting[variable.name].part:
                draft.ledger.dropped(variable.part, "a variable of the same name that is closer wins over it")
            elif variable.part.place not in read:
                _offer(draft, worker, variable)


def _offer(draft: Draft, worker: Worker, variable: Variable) -> None:
    name, part = variable.name, variable.part
    if name in TOKEN_VARIABLES:
        draft.ledger.dropped(part, "workers read the model from a volume, and need no token")
    elif name in WIRING:
        draft.ledger.derived(part, WIRING[name])
    elif name in _NIXL_BACKENDS and variable.value in BACKENDS:
        draft.write("spec.transfer.nixlBackend", variable.value, part)
    elif name.startswith(_KVBM):
        _read_kvbm(draft, worker, variable)
    elif name.startswith(_REPLACED):
        draft.ledger.dropped(part, "it sets a flag, which the operator writes: use the field of the resource")
    elif name in worker.command.used and name not in HUB_HOME:
        draft.ledger.derived(part, "only the command reads it, and there it was put in")
    else:
        draft.offer(worker.role, "variable", name, entry_of(variable), part)


def _read_kvbm(draft: Draft, worker: Worker, variable: Variable) -> None:
    """Read a variable of Dynamo's KV block manager, which runs on prefill workers."""
    value, part = (variable.value or "").lower(), variable.part
    plugin = variable.name.removeprefix(KVBM_BACKEND)
    if worker.role != PREFILL:
        draft.ledger.dropped(part, "the KV block manager runs on prefill workers: spec.transfer.kvbm")
    elif variable.name in _KVBM_SIZES and value.isdigit():
        draft.write(f"spec.transfer.kvbm.{_KVBM_SIZES[variable.name]}", int(value), part)
    elif plugin != variable.name and value in (*KVBM_YES, *KVBM_NO):
        draft.write(("spec", "transfer", "kvbm", "nixlBackends", plugin), value in KVBM_YES, part)
    else:
        draft.offer(worker.role, "variable", variable.name, entry_of(variable), part)


def entry_of(variable: Variable) -> dict[str, object]:
    """Return a variable in the shape of a field ``env``."""
    if variable.part["valueFrom"]:
        return {"name": variable.name, "valueFrom": variable.part["valueFrom"].value}
    return {"name": variable.name, "value": variable.value}


def for_frontend(name: str) -> bool:
    """Tell whether a frontend reads a variable of the whole graph."""
    return name.startswith(_FRONTEND)
