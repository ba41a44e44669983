"""Rules about the services of discovery: each is run by the operator or exists already, never both."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.quantities import quantity
from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend, ServiceSpec
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

_ETCD, _NATS = "spec.discovery.etcd", "spec.discovery.nats"
_QUORUM = 3


def _services(spec: DisaggDeploymentSpec) -> Iterator[tuple[str, ServiceSpec, str, bool]]:
    """Yield path, service, the field that names an existing one, and whether it does."""
    etcd, nats = spec.discovery.etcd, spec.discovery.nats
    if etcd is not None:
        yield _ETCD, etcd, "endpoints", bool(etcd.endpoints)
    if nats is not None:
        yield _NATS, nats, "server", nats.server is not None


def _backend(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    discovery = spec.discovery
    if discovery.etcd is not None and discovery.backend not in (None, DiscoveryBackend.ETCD):
        fault = f"is only for backend etcd, and the backend is {discovery.backend}"
        yield Finding(_ETCD, fault, "Leave it out, or write backend: etcd")


def _own_or_external(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, service, field, external in _services(spec):
        if external and service.managed:
            fault = f"is true, and {field} names an existing service"
            yield Finding(f"{path}.managed", fault, f"Leave out managed or {field}")
        given = [name for name in ("replicas", "storage", "image") if getattr(service, name) is not None]
        if external and given:
            fault = f"names an existing service, and {' and '.join(given)} would be of a managed one"
            yield Finding(f"{path}.{field}", fault, f"Leave out {field}, or {' and '.join(given)}")
        if service.managed is False and not external:
            fault = f"is false, and {field} names no existing service"
            yield Finding(f"{path}.managed", fault, f"Write {field}, or managed: true")


def _members(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, service, *_ in _services(spec):
        if service.replicas not in (None, 1, _QUORUM):
            fault = f"{service.replicas} members survive no more than one does"
            yield Finding(f"{path}.replicas", fault, "Write 1 or 3")


def _data(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    etcd = spec.discovery.etcd
    if etcd is not None and etcd.replicas == _QUORUM and etcd.storage is None:
        fault = "a member without storage loses its data with its pod, and cannot rejoin the others then"
        yield Finding(f"{_ETCD}.replicas", fault, "Write storage, or replicas: 1")


def _storage(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, service, *_ in _services(spec):
        if service.storage is not None and not quantity(service.storage.size):
            yield Finding(f"{path}.storage.size", "is 0", "Write a size such as 1Gi")


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("etcd-fields-need-etcd", "docs/discovery.md", _backend),
    Rule("discovery-own-or-external", "docs/discovery.md", _own_or_external),
    Rule(
        "discovery-members", "https://etcd.io/docs/v3.6/faq/#why-an-odd-number-of-cluster-members", _members
    ),
    Rule(
        "discovery-storage-size",
        "Kubernetes: VolumeResourceRequirements",
        _storage,
        says="a volume of no size",
    ),
    Rule("etcd-members-keep-data", "https://etcd.io/docs/v3.6/op-guide/recovery/", _data),
)
