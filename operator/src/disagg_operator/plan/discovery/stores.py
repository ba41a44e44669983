"""How frontend and workers find each other: what the user asks for, as far as the release can do it."""

from collections.abc import Mapping

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend, DiscoverySpec, EtcdSpec, NatsSpec
from disagg_operator.plan.discovery.services import ServicePlanner
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import DiscoveryPlan, Provenance, ServicePlan
from disagg_operator.platforms.profile import Choice, RuntimeProfile
from disagg_operator.platforms.vocabulary import OFF, ON

ETCD, NATS = "etcd", "nats"
_PATH = "spec.discovery"


def discovery_plan(
    discovery: DiscoverySpec, runtime: RuntimeProfile, services: ServicePlanner
) -> DiscoveryPlan:
    """Return where frontend and workers of a deployment find each other.

    Args:
        discovery: what the user writes.
        runtime: profile of the frontend's release.
        services: plans the services that the operator runs.

    Raises:
        Refusal: the release does not know the store, or has no use for a service that is named.
    """
    chosen = _backend(discovery, runtime)
    why = provenance(chosen)
    if discovery.backend is not None or discovery.etcd is not None:
        why = Provenance("Set by the user.", _PATH)
    run: list[ServicePlan] = []
    endpoints: tuple[str, ...] = ()
    if chosen.value == DiscoveryBackend.ETCD:
        etcd = discovery.etcd or EtcdSpec()
        endpoints = tuple(etcd.endpoints)
        if not endpoints:
            run.append(services.plan(ETCD, etcd, keeps_data=True))
            endpoints = (run[-1].url,)
    nats = _nats(discovery, runtime)
    server = None
    if nats is not None:
        server = nats.server
        if server is None:
            keeps = runtime.discovery.nats is not None and runtime.discovery.nats.jetstream
            run.append(services.plan(NATS, nats, keeps_data=keeps))
            server = run[-1].url
    return DiscoveryPlan(chosen.value, endpoints, server, tuple(run), why)


def discovery_facts(discovery: DiscoveryPlan) -> Mapping[str, str]:
    """Return what conditions and templates of profiles may ask about discovery."""
    return {"discovery": discovery.backend, "nats": OFF if discovery.nats_server is None else ON}


def _backend(discovery: DiscoverySpec, runtime: RuntimeProfile) -> Choice:
    offered = {choice.value: choice for choice in runtime.discovery.backends}
    if discovery.backend is not None:
        asked = discovery.backend.value
    elif discovery.etcd is not None:
        # Whoever describes an etcd means etcd.
        asked = DiscoveryBackend.ETCD.value
    else:
        return runtime.discovery.backends[0]
    if asked not in offered:
        fault = f"{runtime.name} {runtime.version} has no discovery through {asked}"
        remedy = f"Write {' or '.join(offered)}, or a newer runtime.version"
        raise Refusal([Problem(f"{_PATH}.backend", fault, remedy, "discovery-in-release")])
    return offered[asked]


def _nats(discovery: DiscoverySpec, runtime: RuntimeProfile) -> NatsSpec | None:
    """Return the NATS that is to be used, or None where there is none."""
    use, asked = runtime.discovery.nats, discovery.nats
    release = f"{runtime.name} {runtime.version}"
    if asked is None:
        return NatsSpec() if use is not None and use.needed else None
    if use is None:
        fault = f"{release} needs no NATS, and one that is named is one thing more that can fail"
        raise Refusal([Problem(f"{_PATH}.nats", fault, "Leave it out", "nats-needed")])
    if asked.storage is not None and not use.jetstream:
        fault = f"{release} stores nothing in NATS"
        raise Refusal([Problem(f"{_PATH}.nats.storage", fault, "Leave it out", "nats-stores-nothing")])
    return asked
