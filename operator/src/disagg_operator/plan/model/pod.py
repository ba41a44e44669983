"""One pod: its container, what goes before and beside it, and where it may run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.plan.model.download import DownloadPlan
from disagg_operator.plan.model.settings import (
    Claim,
    DeviceCount,
    EnvSetting,
    Mount,
    Port,
    Probe,
    Provenance,
    Setting,
    TolerationSetting,
)


@dataclass(frozen=True, slots=True)
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


RESTRICTED = SecurityPlan(
    "Restricted",
    (),
    own_user=False,
    provenance=Provenance(
        "Nothing that this container does needs a privilege.",
        "https://kubernetes.io/docs/concepts/security/pod-security-standards/",
    ),
)


@dataclass(frozen=True, slots=True)
class TogetherPlan:
    """Workers of the deployment or of a role, or pods of an instance, share one value of a node label."""

    topology_key: str
    required: bool
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class ApartPlan:
    """No node has workers of this and of the other role."""

    other_role: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What a pod waits for before its container starts.

    Attributes:
        command: argument vector of an init container that ends once all answer; it runs the pod's own image.
        services: what answers, each as name and URLs.
    """

    command: tuple[str, ...]
    services: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PreparePlan:
    """What writes the container's configuration file, where that is complete only inside the pod.

    Attributes:
        command: argument vector of an init container that runs the pod's own image and sees its volumes.
    """

    command: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What a pod that is to end waits for before its container is asked to.

    Attributes:
        command: argument vector that runs in the container and ends once its requests have.
        seconds: longest time that requests are waited for.
        kept_seconds: time after the last request for which KV cache is kept.
        kept_provenance: why it is kept.
    """

    command: tuple[str, ...]
    seconds: int
    provenance: Provenance
    kept_seconds: int = 0
    kept_provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
        joined: the NVLink domain that the pods of one model instance share.
        grouped: what else these pods share, as the user wants it.
        packed: the node that pods of the role share, where each takes a part of one.
        image_provenance, resources_provenance: why this image, and why these resources.
        gate: what the pod waits for before its container starts.
        prepare: what writes its container's configuration file, or None where that is mounted as it is.
        download: what fetches the model into a directory of its node before that, or None.
        drain: what it waits for before its container is asked to end.
        check: what looks for all that the engine needs before it starts, or None.
        agent: what shows how the pod moves KV cache, or None.
        grace_provenance: why the grace period is that long.
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
    grouped: TogetherPlan | None = None
    packed: TogetherPlan | None = None
    image_provenance: Provenance | None = None
    resources_provenance: Provenance | None = None
    gate: GatePlan | None = None
    prepare: PreparePlan | None = None
    download: DownloadPlan | None = None
    drain: DrainPlan | None = None
    check: CheckPlan | None = None
    agent: AgentPlan | None = None
    readiness_gate: str | None = None
    grace_provenance: Provenance | None = None
