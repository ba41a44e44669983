"""The Dynamo frontend and the Dynamo side of its workers, from the profile of their release."""

import json
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.discovery.stores import discovery_facts
from disagg_operator.plan.environment import derived, fill
from disagg_operator.plan.facts import applicable
from disagg_operator.plan.frontends.family import HOME, Family, Wiring, Workers, wired
from disagg_operator.plan.model import DiscoveryPlan, Port
from disagg_operator.plan.routing import conditional_disaggregation, routing_facts
from disagg_operator.platforms.profile import Component, RuntimeProfile


def worker(basis: Basis, _role: str, revision: str) -> Wiring:
    """Return how a worker of ``revision`` takes part."""
    component = basis.runtime.worker
    values = {
        **_stores(basis.discovery),
        "dynamo_namespace": basis.dynamo_namespace,
        "revision": revision,
        "home": HOME,
        "port": component.port,
    }
    return _wiring(basis.runtime, component, Port("system", component.port), values)


def front_door(basis: Basis, workers: Workers) -> Wiring:
    """Return how a frontend takes part. It finds the workers of a revision by their scope."""
    spec = basis.spec.frontend
    values = {
        **_stores(basis.discovery),
        "dynamo_namespace": basis.dynamo_namespace,
        "revision_scope": names.revision_scope(basis.dynamo_namespace, workers.revision),
        "router_mode": spec.router_mode,
        "home": HOME,
        "port": spec.port,
        # One segment of a path: a slash in the model's name must not split it.
        "model_segment": quote(basis.spec.model.name, safe=""),
        "conditional_disaggregation": json.dumps(conditional_disaggregation(basis.spec)),
        **routing_facts(basis.spec),
    }
    component = basis.runtime.frontend
    wiring = _wiring(basis.runtime, component, Port("http", spec.port), values)
    return replace(wiring, reads_model=component.model_files is not None)


FAMILY = Family(
    worker,
    front_door,
    worker_labels={
        # Dynamo 1.6.1 selects EndpointSlices by the first label alone, though its source means both.
        "nvidia.com/dynamo-discovery-enabled": "true",
        "nvidia.com/dynamo-discovery-backend": "kubernetes",
    },
)
_ASKED = ("discovery", "nats", "kv_events", "local_prefill")
"""Facts that the profile of a release may ask about in variables of its containers."""


def _stores(discovery: DiscoveryPlan) -> dict[str, str]:
    return {
        **discovery_facts(discovery),
        "etcd_endpoints": ",".join(discovery.etcd_endpoints),
        "nats_server": discovery.nats_server or "",
    }


def _wiring(
    profile: RuntimeProfile, component: Component, port: Port, values: Mapping[str, object]
) -> Wiring:
    facts = {name: str(values[name]) for name in _ASKED if name in values}
    variables = applicable((*profile.environment, *component.environment), facts)
    command = tuple(fill(word, values) for word in component.command)
    return wired(component, command, derived(variables, values), port, values)
