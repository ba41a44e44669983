"""The Dynamo frontend and the Dynamo side of its workers, from the profile of their release."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from disagg_operator.plan.discovery.stores import discovery_facts
from disagg_operator.plan.environment import derived, fill
from disagg_operator.plan.facts import applicable
from disagg_operator.plan.model import DiscoveryPlan, EnvSetting, HttpProbe, Mount, Port
from disagg_operator.platforms.profile import Component, Probe, RuntimeProfile

HOME = "/home/disagg"
SCRATCH = (
    Mount("home", HOME, {"emptyDir": {}}),
    Mount("tmp", "/tmp", {"emptyDir": {}}),  # noqa: S108 - a path inside the container
)
"""What every Dynamo container writes to: its root filesystem is read-only."""


@dataclass(frozen=True)
class Wiring:
    """How one container takes part in Dynamo.

    Attributes:
        command: argument vector; empty where the engine decides.
        environment: derived variables.
        port: port of the probes.
        startup, liveness, readiness: probes.
    """

    command: tuple[str, ...]
    environment: tuple[EnvSetting, ...]
    port: Port
    startup: HttpProbe
    liveness: HttpProbe
    readiness: HttpProbe


def worker(profile: RuntimeProfile, discovery: DiscoveryPlan, dynamo_namespace: str, revision: str) -> Wiring:
    """Return how a worker of ``revision`` takes part."""
    values = {
        **_stores(discovery),
        "dynamo_namespace": dynamo_namespace,
        "revision": revision,
        "home": HOME,
        "port": profile.worker.port,
    }
    return _wiring(profile, profile.worker, "system", profile.worker.port, values)


def frontend(
    profile: RuntimeProfile,
    discovery: DiscoveryPlan,
    dynamo_namespace: str,
    *,
    port: int,
    router_mode: str,
    model: str,
) -> Wiring:
    """Return how a frontend of ``model`` that listens on ``port`` takes part."""
    values = {
        **_stores(discovery),
        "dynamo_namespace": dynamo_namespace,
        "router_mode": router_mode,
        "home": HOME,
        "port": port,
        # One segment of a path: a slash in the model's name must not split it.
        "model_segment": quote(model, safe=""),
    }
    return _wiring(profile, profile.frontend, "http", port, values)


def _stores(discovery: DiscoveryPlan) -> dict[str, str]:
    return {
        **discovery_facts(discovery),
        "etcd_endpoints": ",".join(discovery.etcd_endpoints),
        "nats_server": discovery.nats_server or "",
    }


def _wiring(
    profile: RuntimeProfile, component: Component, port_name: str, port: int, values: Mapping[str, object]
) -> Wiring:
    facts = {name: str(values[name]) for name in ("discovery", "nats")}
    variables = applicable((*profile.environment, *component.environment), facts)
    return Wiring(
        command=tuple(fill(word, values) for word in component.command),
        environment=derived(variables, values),
        port=Port(port_name, port),
        startup=_probe(component.startup, port_name, values),
        liveness=_probe(component.liveness, port_name, values),
        readiness=_probe(component.readiness, port_name, values),
    )


def _probe(probe: Probe, port_name: str, values: Mapping[str, object]) -> HttpProbe:
    return HttpProbe(
        path=fill(probe.path, values),
        port=port_name,
        period=probe.period_seconds,
        failures=probe.failure_threshold,
        timeout=probe.timeout_seconds,
    )
