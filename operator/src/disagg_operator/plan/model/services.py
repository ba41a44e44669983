"""Where frontend and workers find each other, and the etcd and NATS that the operator runs for that."""

from dataclasses import dataclass

from disagg_operator.plan.model.pod import PodPlan
from disagg_operator.plan.model.settings import Port, Provenance


@dataclass(frozen=True, slots=True)
class RoleReference:
    """The role that lets pods use Kubernetes discovery, by kind and name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """A volume for each member of a service.

    Attributes:
        size: as a Kubernetes quantity.
        storage_class: name of its StorageClass, or None for the cluster's default.
    """

    size: str
    storage_class: str | None


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A service beside the workers that the operator runs. It belongs to no revision.

    Attributes:
        kind: etcd or nats.
        name: name of its StatefulSet and of the Service that clients use.
        peers: name of the Service through which members find each other.
        members: how many pods it has.
        ports: what it listens on, the port of clients first.
        pod: the pod of a member.
        data: folder of its data; None where it keeps none.
        volume: what the data lie on; None for a place that goes with the pod.
        url: what clients connect to.
    """

    kind: str
    name: str
    peers: str
    members: int
    ports: tuple[Port, ...]
    pod: PodPlan
    data: str | None
    volume: VolumePlan | None
    url: str


@dataclass(frozen=True, slots=True)
class DiscoveryPlan:
    """Where frontend and workers find each other.

    Attributes:
        backend: store of the registrations, kubernetes or etcd.
        etcd_endpoints: URLs of the etcd.
        nats_server: URL of the NATS server, or None where nothing uses one.
        services: those of them that the operator runs.
        provenance: why this store.
    """

    backend: str
    etcd_endpoints: tuple[str, ...]
    nats_server: str | None
    services: tuple[ServicePlan, ...]
    provenance: Provenance
