"""The plan: everything that was decided, in terms of serving, before it becomes Kubernetes objects.

Invariant: plans are immutable values; two equal inputs give two equal plans.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFILL = "prefill"
DECODE = "decode"
ROLES = (PREFILL, DECODE)


@dataclass(frozen=True)
class Provenance:
    """Why a setting is there, and who says so."""

    reason: str
    source: str


@dataclass(frozen=True)
class EnvSetting:
    """An environment variable with its provenance. Exactly one of value and value_from is set."""

    name: str
    value: str | None
    value_from: Mapping[str, Any] | None
    provenance: Provenance


@dataclass(frozen=True)
class Port:
    """A named TCP port of a container."""

    name: str
    number: int


@dataclass(frozen=True)
class HttpProbe:
    """An HTTP GET probe; times in seconds."""

    path: str
    port: str
    period: int
    failures: int
    timeout: int


@dataclass(frozen=True)
class Mount:
    """A volume and where the container sees it.

    Attributes:
        name: name of the volume.
        path: mount path.
        volume: the volume's source, in Kubernetes' shape.
        read_only: whether the container may not write.
    """

    name: str
    path: str
    volume: Mapping[str, Any]
    read_only: bool = False


@dataclass(frozen=True)
class PodPlan:
    """One pod with its one container, for a worker or a frontend.

    Attributes:
        image: container image.
        pull_policy: image pull policy, or None for Kubernetes' default.
        pull_secrets: names of Secrets with registry credentials.
        command: argument vector.
        environment: variables in their final order.
        ports: ports of the container.
        startup, liveness, readiness: probes.
        mounts: volumes with their mount paths.
        resources: Kubernetes' resource requirements.
        service_account: name of the ServiceAccount.
        node_selector, tolerations: where the pod may run.
        grace_seconds: time between SIGTERM and SIGKILL.
        overrides: the user's partial pod template.
    """

    image: str
    pull_policy: str | None
    pull_secrets: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[EnvSetting, ...]
    ports: tuple[Port, ...]
    startup: HttpProbe
    liveness: HttpProbe
    readiness: HttpProbe
    mounts: tuple[Mount, ...]
    resources: Mapping[str, Any]
    service_account: str
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    grace_seconds: int
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class RolePlan:
    """The workers of one role.

    Attributes:
        role: prefill or decode.
        replicas: model instances.
        pod: the worker pod.
        files: the engine's configuration files by name.
        files_path: folder in which the worker sees these files.
    """

    role: str
    replicas: int
    pod: PodPlan
    files: Mapping[str, str]
    files_path: str


@dataclass(frozen=True)
class FrontendPlan:
    """The HTTP front door."""

    replicas: int
    port: int
    pod: PodPlan


@dataclass(frozen=True)
class RoleReference:
    """The role that lets pods use Kubernetes discovery, by kind and name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Plan:
    """All that was decided for one DisaggDeployment.

    Attributes:
        name, namespace, uid: of the DisaggDeployment; uid is None offline.
        revision: what must match between prefill and decode, as a hash. Replica counts are not part of it.
        address: URL to send OpenAI requests to, from inside the cluster.
        transport: what moves KV cache, such as ``NIXL/UCX``.
        strategy: how a new revision takes over.
        takeover_seconds: how long it has to be ready before it does.
        service_account: name of the pods' ServiceAccount.
        own_service_account: whether the operator makes it.
        discovery_role: role of the pods' ServiceAccount.
        roles: worker plans by role.
        frontend: the front door.
    """

    name: str
    namespace: str
    uid: str | None
    revision: str
    address: str
    transport: str
    strategy: str
    takeover_seconds: int
    service_account: str
    own_service_account: bool
    discovery_role: RoleReference
    roles: Mapping[str, RolePlan]
    frontend: FrontendPlan
