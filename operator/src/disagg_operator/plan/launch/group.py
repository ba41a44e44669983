"""What makes the pods of one StatefulSet a group that serves one model instance.

The index of a pod is its rank among the nodes. Rank 0 leads: it alone serves and is discovered. It starts the
ranks of all nodes through mpirun, over ssh, unless the engine's ranks find each other by themselves.
"""

from dataclasses import replace

from disagg_operator.plan import names
from disagg_operator.plan.engines.engine import CONFIG_FOLDER
from disagg_operator.plan.launch.scripts import KEY_FOLDER, LAUNCH, PROBE, Ranks, scripts
from disagg_operator.plan.model import (
    EnvSetting,
    ExecProbe,
    GroupPlan,
    HttpProbe,
    Mount,
    PodPlan,
    Port,
    Probe,
    Provenance,
    RolePlan,
)
from disagg_operator.platforms.profile import MpiLaunch

_SHELL = "bash"
_NODE_RANK = "DISAGG_NODE_RANK"
_GROUP = "DISAGG_GROUP"
_OWN = ("HOSTNAME", "NVIDIA_VISIBLE_DEVICES")
"""What Kubernetes and its device plugins give to each pod, beside the variables that are fields of it."""
_FIELDS = ("fieldRef", "resourceFieldRef")
_STATEFUL_SET = "https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-index-label"
_GROUPS = "docs/architecture.md, Pod groups"
_BY_PLAN = Provenance("How many share one model instance.", "spec.*.nodesPerReplica, spec.*.parallelism")
_APART = Provenance("Each pod of a model instance has a node of its own.", "spec.*.nodesPerReplica")


def grouped(
    role: RolePlan,
    launch: MpiLaunch,
    deployment: str,
    revision: str,
    *,
    key_round: str,
    address: str,
) -> RolePlan:
    """Return the role as pod groups of ``role.nodes`` pods.

    Args:
        role: the role as if one pod were one instance.
        launch: how the engine's release starts ranks.
        deployment: name of the DisaggDeployment.
        revision: revision of the workers.
        key_round: text whose change asks for another ssh key.
        address: where the leader's HTTP server listens, as a word of a shell.
    """
    ranks = Ranks(role.nodes, role.gpus)
    variables = (*role.pod.environment, *_environment(role, deployment, revision, ranks))
    own = {each.name for each in variables if each.value_from and set(_FIELDS) & set(each.value_from)}
    secret = {"secret": {"secretName": names.ssh_key(deployment, role.role, revision)}}
    key = Mount("ssh-key", KEY_FOLDER, secret, read_only=True, provenance=_by_launch(launch))
    pod = replace(
        role.pod,
        command=(_SHELL, f"{CONFIG_FOLDER}/{LAUNCH}", *role.pod.command),
        environment=variables,
        mounts=(*role.pod.mounts, key),
        startup=probe_of_leader(role.pod, role.pod.startup, launch.wait_seconds),
        liveness=probe_of_leader(role.pod, role.pod.liveness),
        readiness=probe_of_leader(role.pod, role.pod.readiness),
    )
    return replace(
        role,
        pod=pod,
        files={**role.files, **scripts(launch, ranks, {*own, *_OWN}, address)},
        group=GroupPlan(Port("ssh", launch.ssh_port), key_round, _APART),
    )


def joined(role: RolePlan, port: Port, deployment: str, revision: str) -> RolePlan:
    """Return the role as pod groups of ``role.nodes`` pods, whose engine finds its other ranks by itself.

    All pods answer the probes alike; ranks wait for each other, and end with each other.

    Args:
        role: the role as if one pod were one instance.
        port: where the leader listens for the other ranks.
        deployment: name of the DisaggDeployment.
        revision: revision of the workers.
    """
    environment = (*role.pod.environment, *_environment(role, deployment, revision))
    return replace(
        role, pod=replace(role.pod, environment=environment), group=GroupPlan(None, "", _APART, meeting=port)
    )


def _by_launch(launch: MpiLaunch) -> Provenance:
    return Provenance(launch.reason, launch.source, launch.line)


def _environment(
    role: RolePlan, deployment: str, revision: str, ranks: Ranks | None = None
) -> tuple[EnvSetting, ...]:
    worker = names.worker(deployment, role.role, revision)
    leader = f"{worker}-$({_GROUP})-0.{names.all_pods(deployment, role.role, revision)}"
    by_index = Provenance("The index of a pod is its rank among the nodes of its group.", _STATEFUL_SET)
    by_label = Provenance("Says which model instance of the role this is.", _GROUPS)
    by_service = Provenance("The first pod of the group, resolvable before it is ready.", _GROUPS)
    size = None if ranks is None else str(ranks.nodes * ranks.slots)
    world = () if size is None else (EnvSetting("DISAGG_WORLD_SIZE", size, None, _BY_PLAN),)
    return (
        EnvSetting(_GROUP, None, _label(names.LABEL_GROUP), by_label),
        EnvSetting(_NODE_RANK, None, _label(names.LABEL_POD_INDEX), by_index),
        EnvSetting("DISAGG_NODES", str(role.nodes), None, _BY_PLAN),
        *world,
        EnvSetting("DISAGG_LEADER", leader, None, by_service),
    )


def _label(name: str) -> dict[str, dict[str, str]]:
    return {"fieldRef": {"fieldPath": f"metadata.labels['{name}']"}}


def probe_of_leader(pod: PodPlan, probe: Probe, more_seconds: int = 0) -> ExecProbe:
    """Return the probe as a script that asks the leader's HTTP server, and of another rank what it can tell.

    Args:
        pod: the pod.
        probe: what the leader is asked.
        more_seconds: time that it gets beside what the probe grants.
    """
    assert isinstance(probe, HttpProbe), "a worker is asked by HTTP"  # noqa: S101
    (port,) = (port.number for port in pod.ports if port.name == probe.port)
    return ExecProbe(
        command=(_SHELL, f"{CONFIG_FOLDER}/{PROBE}", str(port), probe.path),
        period=probe.period,
        failures=probe.failures + -(-more_seconds // probe.period),
        timeout=probe.timeout,
        grace=probe.grace,
    )
