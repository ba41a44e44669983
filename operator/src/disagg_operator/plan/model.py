"""The plan: everything that was decided, in terms of serving, before it becomes Kubernetes objects.

Invariant: plans are immutable values; two equal inputs give two equal plans. What was derived carries its
provenance, which is never part of what is applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.api.problems import Problem
from disagg_operator.api.transport import Promise, Transport

PREFILL = "prefill"
DECODE = "decode"
ROLES = (PREFILL, DECODE)


@dataclass(frozen=True)
class Provenance:
    """Why a setting is there.

    Attributes:
        reason: why, a sentence for people.
        source: who says so.
        line: line of the profile that sets it, or nothing.
        guess: whether the value is a cautious one, because only the cluster knows the right one.
    """

    reason: str
    source: str
    line: str = ""
    guess: bool = False


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
class ExecProbe:
    """A probe that runs a command in the container; times in seconds."""

    command: tuple[str, ...]
    period: int
    failures: int
    timeout: int


Probe = HttpProbe | ExecProbe


@dataclass(frozen=True)
class Mount:
    """A volume and where the container sees it.

    Attributes:
        name: name of the volume.
        path: mount path.
        volume: the volume's source, in Kubernetes' shape.
        read_only: whether the container may not write.
        provenance: why it is there, where a profile or derivation says so.
    """

    name: str
    path: str
    volume: Mapping[str, Any]
    read_only: bool = False
    provenance: Provenance | None = None


@dataclass(frozen=True)
class DeviceCount:
    """Extended resources that a container asks for: as many requested as limited."""

    name: str
    count: int
    provenance: Provenance


@dataclass(frozen=True)
class Setting:
    """A named text of a pod: a node label, an annotation."""

    name: str
    value: str
    provenance: Provenance


@dataclass(frozen=True)
class TolerationSetting:
    """A tolerated taint, in Kubernetes' shape."""

    toleration: Mapping[str, Any]
    provenance: Provenance


@dataclass(frozen=True)
class Claim:
    """A resource claim of each pod, made from a template.

    Attributes:
        name: name of the claim inside the pod.
        template: name of the ResourceClaimTemplate.
    """

    name: str
    template: str
    provenance: Provenance


@dataclass(frozen=True)
class SecurityPlan:
    """How much privilege a container has.

    Attributes:
        mode: Restricted, IpcLock or Privileged.
        capabilities: Linux capabilities that are added.
        own_user: whether the image's own user runs it, and its root filesystem may be written to.
    """

    mode: str
    capabilities: tuple[str, ...]
    own_user: bool
    provenance: Provenance


@dataclass(frozen=True)
class TogetherPlan:
    """All workers of the deployment, or all pods of a model instance, share one value of a node label."""

    topology_key: str
    required: bool
    provenance: Provenance


@dataclass(frozen=True)
class ApartPlan:
    """No node has workers of this and of the other role."""

    other_role: str
    provenance: Provenance


RESTRICTED = SecurityPlan(
    "Restricted",
    (),
    own_user=False,
    provenance=Provenance(
        "Nothing that this container does needs a privilege.",
        "https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    ),
)


@dataclass(frozen=True)
class GatePlan:
    """What a pod waits for before its container starts.

    Attributes:
        command: argument vector of an init container that ends once all answer; it runs the pod's own image.
        services: what answers, each as name and URLs.
    """

    command: tuple[str, ...]
    services: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True)
class DrainPlan:
    """What a pod that is to end waits for before its container is asked to.

    Attributes:
        command: argument vector that runs in the container and ends once its requests have.
        seconds: longest time that it takes.
    """

    command: tuple[str, ...]
    seconds: int
    provenance: Provenance


@dataclass(frozen=True)
class CheckPlan:
    """The check of a worker's pod before its engine starts.

    Attributes:
        command: argument vector of an init container that fails where something is not as asked; it runs the
            pod's own image, with all that the engine will have.
        files: its program, by its name among the worker's configuration files.
        asked: what it is to find, by the name of the check.
    """

    command: tuple[str, ...]
    files: Mapping[str, str]
    asked: Mapping[str, Any]
    provenance: Provenance


@dataclass(frozen=True)
class AgentPlan:
    """The transport agent beside a worker: a container that starts before it and ends after it.

    Attributes:
        image: container image.
        command: argument vector.
        port: where it answers.
        environment: variables in their final order.
        mounts: volumes with their mount paths, for it alone.
        user: user that runs it, as the engine's; None for that of the pod.
        inspects: whether it runs as root with the capability to look into processes of others, since the
            engine has privileges.
        unconfined: whether no AppArmor profile keeps it from looking into an engine that has none.
    """

    image: str
    command: tuple[str, ...]
    port: Port
    environment: tuple[EnvSetting, ...]
    mounts: tuple[Mount, ...]
    user: int | None
    inspects: bool
    unconfined: bool
    provenance: Provenance


@dataclass(frozen=True)
class PodPlan:
    """One pod with its one container, for a worker, a frontend or a service beside them.

    Attributes:
        image: container image.
        pull_policy: image pull policy, or None for Kubernetes' default.
        pull_secrets: names of Secrets with registry credentials.
        command: argument vector.
        environment: variables in their final order.
        ports: ports of the container.
        startup, liveness, readiness: probes.
        mounts: volumes with their mount paths.
        resources: CPU and memory, in the shape of Kubernetes' resource requirements.
        service_account: name of the ServiceAccount; None for a pod that has no use for the Kubernetes API.
        node_selector, tolerations: where the user lets the pod run.
        grace_seconds: time between the wish that the pod end and SIGKILL; a drain is part of it.
        overrides: the user's partial pod template.
        security: how much privilege the container has.
        devices: extended resources, GPUs among them.
        huge_pages: huge pages by resource, as quantities.
        claims: resource claims of the pod and its container.
        annotations: annotations of the pod.
        node_labels, derived_tolerations: what the platform's nodes are chosen by.
        together, apart: placement relative to other workers of the deployment.
        joined: placement relative to other pods of the same model instance.
        image_provenance, resources_provenance: why this image, and why these resources.
        gate: what the pod waits for before its container starts.
        drain: what it waits for before its container is asked to end.
        check: what looks for all that the engine needs before it starts, or None.
        agent: what shows how the pod moves KV cache, or None.
        readiness_gate: condition that somebody sets before the pod is ready, or None.
    """

    image: str
    pull_policy: str | None
    pull_secrets: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[EnvSetting, ...]
    ports: tuple[Port, ...]
    startup: Probe
    liveness: Probe
    readiness: Probe
    mounts: tuple[Mount, ...]
    resources: Mapping[str, Any]
    service_account: str | None
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    grace_seconds: int
    overrides: Mapping[str, Any]
    security: SecurityPlan = RESTRICTED
    devices: tuple[DeviceCount, ...] = ()
    huge_pages: tuple[Setting, ...] = ()
    claims: tuple[Claim, ...] = ()
    annotations: tuple[Setting, ...] = ()
    node_labels: tuple[Setting, ...] = ()
    derived_tolerations: tuple[TolerationSetting, ...] = ()
    together: TogetherPlan | None = None
    apart: ApartPlan | None = None
    joined: TogetherPlan | None = None
    image_provenance: Provenance | None = None
    resources_provenance: Provenance | None = None
    gate: GatePlan | None = None
    drain: DrainPlan | None = None
    check: CheckPlan | None = None
    agent: AgentPlan | None = None
    readiness_gate: str | None = None


@dataclass(frozen=True)
class ConfigSetting:
    """A setting of an engine's configuration file, for people.

    Attributes:
        key: its path, the parts separated by dots.
        value: what the file holds.
    """

    key: str
    value: Any
    provenance: Provenance


@dataclass(frozen=True)
class GroupPlan:
    """What pod groups of several nodes have beside their pods.

    Attributes:
        ssh: port by which the leader reaches the other pods.
        key_round: text whose change asks for another ssh key.
        provenance: why each pod of a group has a node of its own.
    """

    ssh: Port
    key_round: str
    provenance: Provenance


@dataclass(frozen=True)
class RolePlan:
    """The workers of one role.

    Attributes:
        role: prefill or decode.
        replicas: model instances, each a pod group.
        nodes: pods of one pod group, each on a node of its own.
        gpus: GPUs of each pod.
        pod: the worker pod.
        files: the engine's configuration files by name.
        files_path: folder in which the worker sees these files.
        engine_config: what the engine's configuration file holds.
        settings: the same, setting by setting, with the reason of each.
        group: what pod groups have of their own, where an instance has several nodes.
    """

    role: str
    replicas: int
    nodes: int
    gpus: int
    pod: PodPlan
    files: Mapping[str, str]
    files_path: str
    engine_config: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[ConfigSetting, ...] = ()
    group: GroupPlan | None = None


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
class VolumePlan:
    """A volume for each member of a service.

    Attributes:
        size: as a Kubernetes quantity.
        storage_class: name of its StorageClass, or None for the cluster's default.
    """

    size: str
    storage_class: str | None


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class TransferPlan:
    """How KV cache moves; the same for both roles.

    Attributes:
        method: library that moves it, such as ``NIXL``.
        nixl_backend: NIXL plugin, or None for another method.
        provenance: why this method.
        backend_provenance: why this plugin.
    """

    method: str
    nixl_backend: str | None
    provenance: Provenance
    backend_provenance: Provenance | None = None

    def __str__(self) -> str:
        return self.method if self.nixl_backend is None else f"{self.method}/{self.nixl_backend}"


@dataclass(frozen=True)
class ComputeDomainPlan:
    """The ComputeDomain whose channels the workers of both roles hold, one pod a node.

    Attributes:
        name: name of the ComputeDomain.
        template: name of the ResourceClaimTemplate that NVIDIA's driver makes for it.
        adopted: whether it is the user's: never made, changed or deleted by the operator.
        nodes: nodes of all prefill and decode workers.
        num_nodes: what its ``numNodes`` says; None for an adopted one, which says it itself.
        provenance: why there is one.
        num_nodes_provenance: why ``numNodes`` is what it is.
        spread: whether model instances may be in different racks: NVLink spans each, and not all of them.
    """

    name: str
    template: str
    adopted: bool
    nodes: int
    num_nodes: int | None
    provenance: Provenance
    num_nodes_provenance: Provenance
    spread: bool = False


@dataclass(frozen=True)
class PromisedTransport:
    """A transport that the platform promises, and why."""

    transport: Transport
    provenance: Provenance


@dataclass(frozen=True)
class VerificationPlan:
    """How it is verified that KV cache moves as the platform promises.

    Attributes:
        mode: Warn or Enforce.
        interval_seconds: time after which it is verified again, or None for never.
        canary: whether a request of the operator's own makes KV cache move.
        prompt_tokens: length of its prompt, or None for the default.
        kv_bytes_per_token: as the user says, or None for the model's own.
        kv_dtype: data type of the KV cache as configured, or nothing for the model's own.
        model: name that requests ask for.
        promises: what a worker pod was promised, by role.
    """

    mode: str
    interval_seconds: int | None
    canary: bool
    prompt_tokens: int | None
    kv_bytes_per_token: int | None
    kv_dtype: str
    model: str
    promises: Mapping[str, Promise]

    @property
    def enforced(self) -> bool:
        """Whether no revision serves requests before it was verified."""
        return self.mode == "Enforce"


@dataclass(frozen=True)
class Plan:
    """All that was decided for one DisaggDeployment.

    Attributes:
        name, namespace, uid: of the DisaggDeployment; uid is None offline.
        revision: what must match between prefill and decode, as a hash. Replica counts are not part of it.
        address: URL to send OpenAI requests to, from inside the cluster.
        discovery: where frontend and workers find each other.
        transfer: how KV cache moves.
        strategy: how a new revision takes over.
        strategy_provenance: why it does so.
        takeover_seconds: how long it has to be ready before it does.
        service_account: name of the pods' ServiceAccount.
        own_service_account: whether the operator makes it.
        discovery_role: role of the pods' ServiceAccount.
        roles: worker plans by role.
        frontend: the front door.
        compute_domain: the NVLink domain of the workers, where the platform has one.
        promised: the transports that the platform promises; none where anything will do.
        verification: how that is verified; None where it is not.
        warnings: what is doubtful, though it is not refused.
    """

    name: str
    namespace: str
    uid: str | None
    revision: str
    address: str
    discovery: DiscoveryPlan
    transfer: TransferPlan
    strategy: str
    strategy_provenance: Provenance
    takeover_seconds: int
    service_account: str
    own_service_account: bool
    discovery_role: RoleReference
    roles: Mapping[str, RolePlan]
    frontend: FrontendPlan
    compute_domain: ComputeDomainPlan | None = None
    promised: tuple[PromisedTransport, ...] = ()
    verification: VerificationPlan | None = None
    warnings: tuple[Problem, ...] = field(default=())
