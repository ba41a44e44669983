"""One deployment: its roles, its frontend, how KV cache moves, and the plan of it all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.api.problems import Problem
from disagg_operator.api.transport import Promise, Transport
from disagg_operator.plan.model.download import DownloadPlan
from disagg_operator.plan.model.network import NetworkPlan
from disagg_operator.plan.model.pod import PodPlan
from disagg_operator.plan.model.rollout import RolloutPlan
from disagg_operator.plan.model.services import DiscoveryPlan, RoleReference
from disagg_operator.plan.model.settings import Port, Provenance

PREFILL = "prefill"
DECODE = "decode"
ROLES = (PREFILL, DECODE)


@dataclass(frozen=True, slots=True)
class ConfigSetting:
    """A setting of an engine's configuration file, for people.

    Attributes:
        key: its path, the parts separated by dots.
        value: what the file holds.
    """

    key: str
    value: Any
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class GangPlan:
    """How the pods of a pod group are scheduled all or none.

    Attributes:
        scheduler: Native, Kueue, KAI or Coscheduling.
        api_version, kind: of the object that asks for it; of Kueue, of its queues.
        queue: queue of the pods, where the scheduler has queues.
        scheduler_name: scheduler of the pods; None for that of the cluster.
    """

    scheduler: str
    api_version: str
    kind: str
    queue: str | None
    scheduler_name: str | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What pod groups of several nodes have beside their pods.

    Attributes:
        ssh: port by which the leader reaches the other pods; None where the ranks meet by themselves.
        key_round: text whose change asks for another ssh key.
        provenance: why each pod of a group has a node of its own.
        meeting: port on which the leader awaits the other ranks, where they meet by themselves.
        gang: how its pods are scheduled all or none, or None where each is on its own.
    """

    ssh: Port | None
    key_round: str
    provenance: Provenance
    meeting: Port | None = None
    gang: GangPlan | None = None

    @property
    def ports(self) -> tuple[Port, ...]:
        """Ports by which the pods of a group reach each other."""
        return tuple(port for port in (self.ssh, self.meeting) if port is not None)


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """What evictions must leave, whatever the revision.

    Attributes:
        min_available: pods that must be ready.
    """

    min_available: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
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
        config_map: name of the ConfigMap that has them, as well as those of the other role.
        service: name of the headless Service by which its ready pods are found; of pod groups, the leaders.
        engine_config: what the engine's configuration file holds.
        settings: the same, setting by setting, with the reason of each.
        group: what pod groups have of their own, where an instance has several nodes.
        budget: what evictions must leave; None for nothing, or where that is the user's business.
    """

    role: str
    replicas: int
    nodes: int
    gpus: int
    pod: PodPlan
    files: Mapping[str, str]
    files_path: str
    config_map: str = ""
    service: str = ""
    engine_config: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[ConfigSetting, ...] = ()
    group: GroupPlan | None = None
    budget: BudgetPlan | None = None


@dataclass(frozen=True, slots=True)
class ScalerPlan:
    """The DisaggScaler of a role that is scaled from outside.

    Attributes:
        name: its name.
        role: prefill or decode.
        lowest, highest: bounds of the count.
        replicas: the count in force.
        selector: labels of one pod for each model instance.
    """

    name: str
    role: str
    lowest: int
    highest: int
    replicas: int
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FrontendPlan:
    """The HTTP front door. Its budget is as a role's.

    Attributes:
        files: its configuration files by name.
        files_path: folder in which it sees these files.
        settings: what they hold, setting by setting, with the reason of each.
        listed: whether the files name its workers, which it does not find by itself.
        worker_labels: labels by which it finds the Services of workers.
        request_key: name of the Secret with the key by which workers know its requests, or None.
        reach: revision that it sends requests to, or ``all``; nothing where its command names none.
    """

    replicas: int
    port: int
    pod: PodPlan
    budget: BudgetPlan | None = None
    reach: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    files_path: str = ""
    settings: tuple[ConfigSetting, ...] = ()
    listed: bool = False
    worker_labels: Mapping[str, str] = field(default_factory=dict)
    request_key: str | None = None


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """How KV cache moves; the same for both roles.

    Attributes:
        method: library that moves it, such as ``NIXL``.
        nixl_backend: NIXL plugin, or None for another method.
        provenance: why this method.
        backend_provenance: why this plugin.
        simulated: whether the engine only takes the time of a transfer, and no KV cache moves.
    """

    method: str
    nixl_backend: str | None
    provenance: Provenance
    backend_provenance: Provenance | None = None
    simulated: bool = False

    def __str__(self) -> str:
        if self.simulated:
            return "simulated"
        return self.method if self.nixl_backend is None else f"{self.method}/{self.nixl_backend}"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class PromisedTransport:
    """A transport that the platform promises, and why."""

    transport: Transport
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class VerificationPlan:
    """How it is verified that KV cache moves as the platform promises.

    Attributes:
        mode: Warn or Enforce.
        interval_seconds: time after which it is verified again, or None for never.
        canary: whether a request of the operator's own makes KV cache move.
        prompt_tokens: length of its prompt, or None for the default.
        least_tokens: length below which no KV cache would move for it.
        kv_bytes_per_token: as the user says, or None for the model's own.
        kv_dtype: data type of the KV cache as configured, or nothing for the model's own.
        model: name that requests ask for.
        promises: what a worker pod was promised, by role.
    """

    mode: str
    interval_seconds: int | None
    canary: bool
    prompt_tokens: int | None
    least_tokens: int
    kv_bytes_per_token: int | None
    kv_dtype: str
    model: str
    promises: Mapping[str, Promise]

    @property
    def enforced(self) -> bool:
        """Whether no revision serves requests before it was verified."""
        return self.mode == "Enforce"


@dataclass(frozen=True, slots=True)
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
        rollout: how far it may go at once, and when it has failed.
        takeover_seconds: how long it has to be ready before it does.
        service_account: name of the pods' ServiceAccount.
        own_service_account: whether the operator makes it.
        discovery_role: role of the pods' ServiceAccount.
        roles: worker plans by role.
        frontend: the front door.
        network: who may reach the pods.
        compute_domain: the NVLink domain of the workers, where the platform has one.
        download: the Job that fetches the model before workers start, or None.
        scalers: one for each role that is scaled from outside.
        promised: the transports that the platform promises; none where anything will do.
        verification: how that is verified; None where it is not.
        warnings: what is doubtful, though it is not refused.
        planned_for: what the pods are planned from, as a hash.
        own_revision: revision that this version of the operator plans.
        keeps_workers: whether ``revision`` is another one, of workers that are kept: an older version of the
            operator planned them from the same inputs.
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
    rollout: RolloutPlan
    takeover_seconds: int
    service_account: str
    own_service_account: bool
    discovery_role: RoleReference
    roles: Mapping[str, RolePlan]
    frontend: FrontendPlan
    network: NetworkPlan
    compute_domain: ComputeDomainPlan | None = None
    download: DownloadPlan | None = None
    scalers: tuple[ScalerPlan, ...] = ()
    promised: tuple[PromisedTransport, ...] = ()
    verification: VerificationPlan | None = None
    warnings: tuple[Problem, ...] = field(default=())
    planned_for: str = ""
    own_revision: str = ""
    keeps_workers: bool = False

    def scaler(self, role: str) -> ScalerPlan | None:
        """Return the scaler of a role, or None where it is not scaled from outside."""
        return next((scaler for scaler in self.scalers if scaler.role == role), None)
