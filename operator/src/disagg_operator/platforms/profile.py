"""The shape of a profile: every value says why it is there and who says so.

A deployment's hardware is described by three sorts of profiles that are laid over each other: the runtime
(what a release and its images hold), the fabrics (what a network asks for) and the machine (what a node has).

Invariants: a profile is data. All that code interprets is templates, and conditions on facts of the plan.
Within one list, names are unique, so that one profile can be laid over another.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from disagg_operator.platforms.vocabulary import DEVICES, condition_fault, template_fault


class ProfileModel(BaseModel):
    """Base of profile models: strict and immutable, so that a typo in a profile fails its test."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sourced(ProfileModel):
    """A value's provenance.

    Attributes:
        reason: why the value is there, a sentence for people.
        source: the document, thread or measurement that says so.
        line: file and line of the profile; filled in by the loader.
    """

    reason: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    line: str = ""


class Conditional(Sourced):
    """A value that may hold for some pods only.

    Attributes:
        when: facts and the values that each must have one of, such as ``{role: [decode], nodes: [several]}``.
            `platforms.vocabulary` says which facts there are. Empty: always.
    """

    when: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_facts(self) -> "Conditional":
        fault = condition_fault(self.when)
        if fault is not None:
            raise ValueError(fault)
        return self


class Variable(Conditional):
    """An environment variable.

    Attributes:
        value: a literal, or a jinja2 template over the facts and values that the planner offers.
        field: a field of the pod (Kubernetes' downward API) in place of a value.
    """

    name: str
    value: str | None = None
    field: str | None = None


class Device(Conditional):
    """An extended resource that workers ask for. Exactly one of the counts is set.

    Attributes:
        name: name of the resource, such as ``vpc.amazonaws.com/efa``.
        per_node: devices of a whole node; a pod gets a part in proportion to its GPUs, at least one.
        per_gpu: devices for each GPU of a pod, where only the node itself knows how many it has.
        per_pod: devices of each pod, where one slot stands for access to all adapters.
        on_node: devices of a whole node where a pod does not get them in proportion; they bound its pods.
    """

    name: str
    per_node: Annotated[int, Field(ge=1)] | None = None
    per_gpu: Annotated[int, Field(ge=1)] | None = None
    per_pod: Annotated[int, Field(ge=1)] | None = None
    on_node: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_count(self) -> "Device":
        if [self.per_node, self.per_gpu, self.per_pod].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ValueError("needs exactly one of per_node, per_gpu and per_pod; write one of them")
        return self


class HugePages(Conditional):
    """Huge pages of each pod, as many requested as limited.

    Attributes:
        name: name of the resource, such as ``hugepages-2Mi``.
        quantity: how much of it, as a Kubernetes quantity.
        variables: variables of the workers and the values that each must have one of; the library that reads
            them uses huge pages then, and no pod has any that does not ask for them.
    """

    name: str
    quantity: str
    variables: Mapping[str, tuple[str, ...]]


class HostMount(Conditional):
    """A directory of the node that workers see.

    Attributes:
        name: name of the volume.
        path: where the container sees it.
        host_path: directory on the node.
    """

    name: str
    path: str
    host_path: str
    read_only: bool = True


class Annotation(Conditional):
    """An annotation of worker pods.

    Attributes:
        value: a jinja2 template over the facts and ``devices``, the pod's devices by resource; an annotation
            whose value comes out empty is left out.
    """

    name: str
    value: str


class NodeLabel(Conditional):
    """A label that nodes of workers must have."""

    name: str
    value: str


class Toleration(Conditional):
    """A taint that workers tolerate. Without a value, any value is tolerated.

    Attributes:
        name: key of the taint.
    """

    name: str
    value: str | None = None
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] = "NoSchedule"


class SharedMemory(Conditional):
    """Size of ``/dev/shm``, held in memory and counted as the pod's, as a Kubernetes quantity."""

    size: str


class PodResources(Sourced):
    """Compute resources of a pod: Kubernetes quantities by resource name."""

    requests: dict[str, str] = Field(default_factory=dict)
    limits: dict[str, str] = Field(default_factory=dict)


class Choice(Conditional):
    """A setting chosen by a profile, or one of several: the first that applies is the default."""

    value: str


class Security(Conditional):
    """A security context with which the fabric works; the first that applies is the default.

    Attributes:
        mode: what users write into ``spec.security.mode``.
        capabilities: Linux capabilities that are added.
        proven: whether a primary source ran it; an unproven one is offered with a warning.
    """

    mode: Literal["Restricted", "IpcLock", "Privileged"]
    capabilities: tuple[str, ...] = ()
    proven: bool = True


class Together(Conditional):
    """All workers of a deployment share one value of a node label.

    Attributes:
        topology_key: the label.
        required: whether workers wait rather than be split.
    """

    topology_key: str
    required: bool = True


class Apart(Conditional):
    """No node has both a prefill and a decode worker."""


class Domain(Sourced):
    """An NVLink domain that spans nodes, which a ComputeDomain opens to pods.

    Attributes:
        max_nodes: nodes of the largest domain.
        clique_label: node label whose value is the same on all nodes of one domain.
    """

    max_nodes: Annotated[int, Field(ge=1)]
    clique_label: str


class Layer(ProfileModel):
    """What one profile adds to worker pods.

    Attributes:
        environment: variables of the workers.
        devices: extended resources.
        huge_pages: huge pages.
        mounts: directories of the node.
        annotations: annotations of the pods.
        node_labels: labels that nodes must have.
        tolerations: taints that are tolerated.
    """

    environment: tuple[Variable, ...] = ()
    devices: tuple[Device, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()
    mounts: tuple[HostMount, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    node_labels: tuple[NodeLabel, ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @model_validator(mode="after")
    def _unique_names(self) -> "Layer":
        for key in Layer.model_fields:
            names = [entry.name for entry in getattr(self, key)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{key} holds {', '.join(twice)} twice; make one entry of them")
        return self


class HardwareLayer(Layer):
    """A layer whose templates are over the facts alone."""

    @model_validator(mode="after")
    def _known_values(self) -> "HardwareLayer":
        for variable in self.environment:
            _check(variable.name, variable.value or "")
        for annotation in self.annotations:
            _check(annotation.name, annotation.value, more=frozenset({DEVICES}))
        return self


def _check(name: str, template: str, more: frozenset[str] = frozenset()) -> None:
    fault = template_fault(template, more=more)
    if fault is not None:
        raise ValueError(f"{name}: {fault}")


class FabricProfile(HardwareLayer):
    """A network that KV cache crosses.

    Attributes:
        name: what machine profiles call it.
        description: one sentence for people.
        nixl_backends: NIXL plugins that drive it, the default first.
        security: security contexts with which it works, the default first.
        together: placement of all workers of a deployment; the first that applies.
        apart: whether prefill and decode must be on different nodes.
        domain: the NVLink domain, for a fabric that is one.
    """

    name: str
    description: str
    nixl_backends: Annotated[tuple[Choice, ...], Field(min_length=1)]
    security: Annotated[tuple[Security, ...], Field(min_length=1)]
    together: tuple[Together, ...] = ()
    apart: Apart | None = None
    domain: Domain | None = None


class Gpus(Sourced):
    """The GPUs of a node.

    Attributes:
        count: how many a node has.
        model: what they are.
        resource: name by which pods ask for them.
    """

    count: Annotated[int, Field(ge=1)]
    model: str
    resource: str = "nvidia.com/gpu"


class MachineProfile(HardwareLayer):
    """A kind of machine and how it is connected.

    Attributes:
        name: what users write into ``spec.platform``.
        description: one sentence for people.
        fabrics: names of its fabrics; KV cache crosses the first.
        gpus: GPUs of a node; none where the profile fits machines of any sort.
        architecture: ``amd64`` or ``arm64``; none where the profile fits both.
        worker_resources: CPU and memory of a worker that computes on CPU.
        gpu_worker_resources: CPU and memory of a worker for each of its GPUs.
        frontend_resources: CPU and memory of a frontend pod.
        shared_memory: size of the workers' ``/dev/shm``; the first that applies.
    """

    name: str
    description: str
    fabrics: Annotated[tuple[str, ...], Field(min_length=1)]
    gpus: Gpus | None = None
    architecture: Choice | None = None
    worker_resources: PodResources
    gpu_worker_resources: PodResources | None = None
    frontend_resources: PodResources
    shared_memory: tuple[SharedMemory, ...] = ()


class Probe(Sourced):
    """An HTTP probe.

    Attributes:
        path: HTTP path, a jinja2 template.
        period_seconds: time between two tries.
        failure_threshold: failures in a row that count.
        timeout_seconds: time for one answer.
    """

    path: str
    period_seconds: int
    failure_threshold: int
    timeout_seconds: int


class Component(ProfileModel):
    """What one component of a runtime needs.

    Attributes:
        port: port whose HTTP server answers the probes.
        command: argument vector, each word a jinja2 template; empty where the engine decides.
        environment: variables of its container.
        model_files: why it must see the model's files; none if it need not.
        startup, liveness, readiness: probes.
    """

    port: int
    command: tuple[str, ...] = ()
    model_files: Sourced | None = None
    environment: tuple[Variable, ...] = ()
    startup: Probe
    liveness: Probe
    readiness: Probe


class Takeover(Sourced):
    """When a new revision of the workers may take over: seconds after it is ready."""

    seconds: int


class Method(Choice):
    """A library that moves KV cache.

    Attributes:
        doubt: what speaks against it; whoever chooses it is told.
    """

    doubt: str | None = None


class EngineSetting(Conditional):
    """A setting of an engine's configuration file that the user may override.

    Attributes:
        name: unique within the release.
        key: path of the setting, its parts separated by dots.
        value: what the file holds; null is a value.
    """

    name: str
    key: str
    value: Any


class Transceiver(ProfileModel):
    """What one version of TensorRT-LLM accepts in its section ``cache_transceiver_config``.

    Attributes:
        fields: the known fields; TensorRT-LLM refuses any other when it starts.
    """

    fields: tuple["TransceiverField", ...]


class TransceiverField(Sourced):
    """One field of ``cache_transceiver_config``; null is always accepted.

    Attributes:
        kind: text (one of ``choices``), whole (a number of at least ``minimum``) or switch (true or false).
    """

    name: str
    kind: Literal["text", "whole", "switch"]
    choices: tuple[str, ...] = ()
    minimum: int = 0


class Kvbm(Sourced):
    """How an engine's prefill workers keep KV cache in Dynamo's KV block manager.

    Attributes:
        arguments: words that are added to the worker's command.
    """

    arguments: tuple[str, ...]


class MpiLaunch(Sourced):
    """How the ranks of a model instance on several nodes are started: by mpirun, over ssh.

    Attributes:
        wrapper: what each rank runs, with the worker's command as arguments.
        ssh_port: port on which the other nodes let the leader in.
        wait_seconds: time that the other nodes have to appear.
        open_mpi: settings of mpirun by major version of Open MPI; what the image holds decides. Values are
            jinja2 templates over ``ssh_config``, the path of ssh's configuration.
    """

    wrapper: tuple[str, ...] = ()
    ssh_port: Annotated[int, Field(ge=1024, le=65535)]
    wait_seconds: Annotated[int, Field(ge=1)]
    open_mpi: Annotated[Mapping[str, tuple[Variable, ...]], Field(min_length=1)]


class EngineRelease(Layer):
    """An engine inside one version of a frontend's release.

    Attributes:
        version: the engine's own version.
        tried: where this engine of this release was run by the project; none if it was only rendered and
            compared with documents.
        images: image references (jinja2 templates); the first that applies is the default. None: the
            installation's worker image, or a built one.
        built: the command that builds an image where none is published.
        methods: libraries that can move KV cache; the first that applies is the default.
        nixl_backends: NIXL plugins that the engine can load; none: all that the fabric offers.
        own_user: whether the image runs as a user of its own and writes to its root filesystem.
        command: argument vector of a worker, each word a jinja2 template; empty where code makes it.
        settings: what the engine's configuration file holds beside what the specification says.
        transceiver: the known fields of TensorRT-LLM's ``cache_transceiver_config``.
        kvbm: how it uses Dynamo's KV block manager; none if it cannot.
        launch: how an instance on several nodes is started; none where it cannot be.
    """

    version: str
    tried: Sourced | None = None
    images: tuple[Choice, ...] = ()
    built: Choice | None = None
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    nixl_backends: tuple[Choice, ...] = ()
    own_user: bool = False
    command: tuple[str, ...] = ()
    settings: tuple[EngineSetting, ...] = ()
    transceiver: Transceiver | None = None
    kvbm: Kvbm | None = None
    launch: MpiLaunch | None = None


class NatsUse(Sourced):
    """What a release does with a NATS server.

    Attributes:
        needed: whether it does not start without one; else it uses one where it is asked to.
        jetstream: whether it stores something in it.
    """

    needed: bool
    jetstream: bool


class Discovery(ProfileModel):
    """Where the frontend and the workers of a release find each other.

    Attributes:
        backends: stores of registrations that it knows (kubernetes, etcd), the default first.
        nats: what it does with a NATS server; none where it has no use for one.
    """

    backends: Annotated[tuple[Choice, ...], Field(min_length=1)]
    nats: NatsUse | None = None


class ServiceProfile(ProfileModel):
    """A service that the operator runs where a release needs it and the user names no existing one.

    Templates of words are over ``data`` (folder of its data), ``service`` (name of the Service that knows its
    members, also not ready ones) and ``members`` (all members, each as ``member`` writes it).

    Attributes:
        name: what it is.
        image: container image; an installation or a user may name another.
        scheme: of the URL that clients connect to.
        client_port: port that clients connect to.
        peer_port: port that members connect to each other at.
        health_port: port whose HTTP server answers the probes.
        command: argument vector; the variable ``POD_NAME`` holds the member's name.
        clustered: words that several members have beside it.
        stored: words for one that keeps data, where not each does.
        member: one member in a list of all, a template over ``name`` and ``service``.
        resources: CPU and memory of a member.
        startup, liveness, readiness: probes.
    """

    name: str
    image: Choice
    scheme: str
    client_port: int
    peer_port: int
    health_port: int
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    clustered: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    member: str
    resources: PodResources
    startup: Probe
    liveness: Probe
    readiness: Probe


class Doubt(Sourced):
    """What users of a release are told: the reason is the fault."""

    name: str
    remedy: str


class RuntimeProfile(ProfileModel):
    """One version of a frontend's release: how its parts are started, found, probed and replaced.

    Attributes:
        discovery: where its parts find each other.
        strategies: rollout strategies that it allows; others would let two revisions meet.
        doubts: what its users are told.
        engines: the engines that it can run, by name.
    """

    name: str
    version: str
    discovery: Discovery
    strategies: Annotated[tuple[Choice, ...], Field(min_length=1)]
    doubts: tuple[Doubt, ...] = ()
    takeover: Takeover
    environment: tuple[Variable, ...]
    worker: Component
    frontend: Component
    engines: Mapping[str, EngineRelease]


Document = dict[str, Any]
"""A profile as YAML has it."""
