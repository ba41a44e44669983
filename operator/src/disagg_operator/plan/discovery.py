"""How frontend and workers find each other: what the user asks for, as far as the release can do it."""

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.runtime import DiscoveryBackend, DiscoverySpec
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import DiscoveryPlan, Provenance
from disagg_operator.platforms.profile import Choice, RuntimeProfile

_BACKEND = "spec.discovery.backend"
_ETCD = "spec.discovery.etcdEndpoints"
_NATS = "spec.discovery.natsServer"


def discovery_plan(discovery: DiscoverySpec, runtime: RuntimeProfile) -> DiscoveryPlan:
    """Return where frontend and workers of a deployment find each other.

    Args:
        discovery: what the user writes.
        runtime: profile of the frontend's release.

    Raises:
        Refusal: the release does not know the store, or needs a service that is not named.
    """
    chosen = _backend(discovery, runtime)
    problems = [*_etcd_problems(discovery, runtime, chosen), *_nats_problems(discovery, runtime)]
    if problems:
        raise Refusal(problems)
    asked = discovery.backend is not None
    why = Provenance("Set by the user.", _BACKEND) if asked else provenance(chosen)
    return DiscoveryPlan(chosen.value, tuple(discovery.etcd_endpoints), discovery.nats_server, why)


def _backend(discovery: DiscoverySpec, runtime: RuntimeProfile) -> Choice:
    offered = {choice.value: choice for choice in runtime.discovery.backends}
    if discovery.backend is not None:
        asked = discovery.backend.value
    elif discovery.etcd_endpoints:
        # Whoever names an etcd means etcd.
        asked = DiscoveryBackend.ETCD.value
    else:
        return runtime.discovery.backends[0]
    if asked not in offered:
        fault = f"{runtime.name} {runtime.version} has no discovery through {asked}"
        remedy = f"Write {' or '.join(offered)}, or a newer runtime.version"
        raise Refusal([Problem(_BACKEND, fault, remedy, "discovery-in-release")])
    return offered[asked]


def _etcd_problems(discovery: DiscoverySpec, runtime: RuntimeProfile, chosen: Choice) -> list[Problem]:
    if chosen.value != DiscoveryBackend.ETCD or discovery.etcd_endpoints:
        return []
    fault = f"{runtime.name} {runtime.version} registers its workers in etcd, and none is named"
    remedy = "Write the URLs of an etcd, such as http://etcd:2379"
    return [Problem(_ETCD, fault, remedy, "discovery-service-named")]


def _nats_problems(discovery: DiscoverySpec, runtime: RuntimeProfile) -> list[Problem]:
    needed = runtime.discovery.nats
    if needed is not None and discovery.nats_server is None:
        fault = f"{runtime.name} {runtime.version} needs a NATS server, and none is named"
        remedy = "Write the URL of a NATS server, such as nats://nats:4222"
        return [Problem(_NATS, fault, remedy, "discovery-service-named")]
    if needed is None and discovery.nats_server is not None:
        fault = (
            f"{runtime.name} {runtime.version} needs no NATS, and would not start without one that is named"
        )
        return [Problem(_NATS, fault, "Leave it out", "nats-needed")]
    return []
