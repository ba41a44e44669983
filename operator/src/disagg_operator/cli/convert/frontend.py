"""The frontend: replicas, port, router and its variables."""

from disagg_operator.api.admission.variables import WIRING
from disagg_operator.api.v1alpha1.runtime import RouterMode
from disagg_operator.cli.convert import flagvariables
from disagg_operator.cli.convert.command import command_of, open_command, typed
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.flagvariables import by_variable
from disagg_operator.cli.convert.graph import Component, Graph
from disagg_operator.cli.convert.model import HUB_HOME
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Cast
from disagg_operator.cli.convert.variables import entry_of, for_frontend, read_request_plane

FIELD = "spec.frontend"
_PORT_FLAGS = ("--http-port",)
_DERIVED_FLAGS = {
    "--http-host": "the frontend listens on all addresses of its pod",
    "--namespace": "the operator gives every deployment a scope of its own",
    "--namespace-prefix": "the operator gives every deployment a scope of its own",
    "--store-kv": "spec.discovery says it",
    "--discovery-backend": "spec.discovery says it",
    "--event-plane": "prefill, decode and frontend agree on the release's own",
    "--enforce-disagg": "both roles are always asked",
    "--kv-cache-block-size": "router and engine count blocks of one size: the engine's",
    "--router-kv-events": "workers tell the frontend of their blocks where spec.frontend.routerMode is kv",
    "--kv-events": "workers tell the frontend of their blocks where spec.frontend.routerMode is kv",
    "--router-replica-sync": "frontends tell each other of the load where spec.frontend.routerMode is kv",
    "--router-conditional-disagg": "spec.localPrefill says it",
    "--model-name": "the frontend learns it from the workers",
    "--model-path": "the frontend learns it from the workers",
}
_EVENTS = "with spec.frontend.routerMode kv workers always tell the frontend of their blocks"
_DROPPED_FLAGS = {
    "--no-router-kv-events": _EVENTS,
    "--no-kv-events": _EVENTS,
}
_WHOLE = 100
_BY_HIT = ("isl_bounding", "isl_or_load")
_BY_LOAD = ("prefill_load", "isl_or_load")
_NO_FIELD = "the API has no field for it: where you need it, replace the command in spec.frontend.podTemplate"


def write_frontend(draft: Draft, graph: Graph, cast: Cast) -> None:
    """Write ``spec.frontend``; nothing where the graph has no frontend, and the API's defaults hold."""
    frontend = cast.frontend
    if frontend is None:
        draft.choose("frontend", "", "the graph has none, so one with the API's defaults")
        return
    replicas = frontend.part["replicas"]
    if replicas:
        draft.write(f"{FIELD}.replicas", replicas.value, replicas)
    image = frontend.container["image"]
    why = "the frontend runs the image of the workers: spec.runtime.image"
    same = image.text in {worker.component.container["image"].text for worker in cast.workers}
    (draft.derived if same else draft.dropped)([image], why)
    draft.derived(
        [frontend.container["imagePullPolicy"]], "spec.runtime.imagePullPolicy says it for all pods"
    )
    _read_flags(draft, frontend)
    for source in frontend.variable_sources():
        if source.of_hub:
            why = "the token goes where the model's files are read: spec.model.source"
            draft.ledger.derived(source.part, why)
    for volume in frontend.volumes():
        if volume.claim:
            why = "the frontend gets of the model what its release reads"
            draft.derived([volume.mount], why)
            draft.derived((part for part in volume.declared if not draft.ledger.knows(part)), why)
    _read_variables(draft, graph, frontend)


def _read_flags(draft: Draft, frontend: Component) -> None:
    command = command_of(frontend)
    open_command(draft.ledger, frontend, command)
    if command.program is not None:
        draft.note("spec.runtime.frontend", command.program)
    draft.dropped(command.steps, "a step of the shell; the operator starts the frontend without one")
    for flag in command.flags:
        if flag.name in _PORT_FLAGS:
            draft.write(f"{FIELD}.port", typed(flag.value), flag.part)
        elif flag.name == "--router-mode":
            _write_router(draft, flag.value, flag.part)
        elif flag.name == "--router-conditional-disagg-config":
            _write_local_prefill(draft, flag.value, flag.part)
        elif flag.name == "--request-plane":
            read_request_plane(draft, flag.value, flag.part)
        elif flag.name in _DERIVED_FLAGS:
            draft.ledger.derived(flag.part, _DERIVED_FLAGS[flag.name])
        elif (variable := by_variable(draft, flag, flagvariables.FRONTEND)) is not None:
            draft.append(f"{FIELD}.env", variable, flag.part)
        else:
            draft.ledger.dropped(flag.part, _DROPPED_FLAGS.get(flag.name, _NO_FIELD))


def _write_router(draft: Draft, mode: str, part: Part) -> None:
    if mode in list(RouterMode):
        draft.write(f"{FIELD}.routerMode", mode, part)
    else:
        draft.ledger.dropped(part, f"{mode!r} is no mode of this API: {', '.join(RouterMode)}")


def _write_local_prefill(draft: Draft, text: str, part: Part) -> None:
    """Write what the router leaves to decode: plan/routing.py, the other way round."""
    config = typed(text)
    policy = config.get("policy") if isinstance(config, dict) else None
    if policy not in (*_BY_HIT, *_BY_LOAD):
        draft.ledger.dropped(part, "write spec.localPrefill, which says what decode computes")
        return
    if policy in _BY_HIT and isinstance(config.get("eff_isl_threshold"), int):
        draft.write("spec.localPrefill.prefixHit.maxNewTokens", config["eff_isl_threshold"] - 1, part)
        percent = round(_WHOLE - _WHOLE * _number(config.get("eff_isl_ratio_threshold"), 1.0))
        if 0 < percent < _WHOLE:
            draft.write("spec.localPrefill.prefixHit.minPercent", percent, part)
    if policy in _BY_LOAD and "prefill_busy_threshold" in config:
        load = round(_WHOLE * _number(config["prefill_busy_threshold"], 1.0))
        draft.write("spec.localPrefill.prefillLoadPercent", load, part)


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise


def _read_variables(draft: Draft, graph: Graph, frontend: Component) -> None:
    whole = {variable.part.place for variable in graph.variables}
    counting = frontend.effective()
    for variable in frontend.variables():
        name, part = variable.name, variable.part
        if part != counting[name].part:
            draft.ledger.dropped(part, "a variable of the same name that is closer wins over it")
        elif name == "DYN_ROUTER_MODE":
            _write_router(draft, variable.value or "", part)
        elif name == "DYN_ROUTER_CONDITIONAL_DISAGG_CONFIG":
            _write_local_prefill(draft, variable.value or "", part)
        elif name == "DYN_HTTP_PORT":
            draft.write(f"{FIELD}.port", typed(variable.value or ""), part)
        elif part.place in whole:
            if for_frontend(name) and name not in WIRING:
                draft.append(f"{FIELD}.env", entry_of(variable), part)
        elif draft.ledger.knows(part):
            continue
        elif name in WIRING:
            draft.ledger.derived(part, WIRING[name])
        elif name in HUB_HOME:
            draft.ledger.derived(part, "the frontend gets of the model what its release reads")
        else:
            draft.append(f"{FIELD}.env", entry_of(variable), part)
