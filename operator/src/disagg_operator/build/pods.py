"""Pod templates of workers and frontends."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from disagg_operator.api.merge import merged
from disagg_operator.build.agent import agent_container
from disagg_operator.build.download import download_container
from disagg_operator.build.environment import variable
from disagg_operator.build.metadata import Object
from disagg_operator.build.mounts import volume_mount
from disagg_operator.build.placement import affinity
from disagg_operator.build.security import container_security, pod_security
from disagg_operator.plan.model import (
    RESTRICTED,
    CheckPlan,
    GatePlan,
    HttpProbe,
    Mount,
    PodPlan,
    PreparePlan,
    Probe,
)

CHECK = "preflight"
"""Name of the init container that looks for all that the engine needs."""
PREPARE = "complete-settings"
"""Name of the init container that writes the configuration file."""
GATE = "await-services"
"""Name of the init container that waits for etcd and NATS."""
_ALIKE = ("image", "imagePullPolicy", "env", "envFrom", "resources", "securityContext", "volumeMounts")
"""What the check has in common with the engine."""
_SMALL = {"cpu": "100m", "memory": "64Mi"}


def pod_template(pod: PodPlan, container: str, labels: Mapping[str, str]) -> Object:
    """Return a pod template, with the user's overrides merged over what was derived.

    Args:
        pod: what was decided about the pod.
        container: name of its container.
        labels: labels of the pods.
    """
    metadata: Object = {"labels": dict(labels)}
    if pod.annotations:
        metadata["annotations"] = {setting.name: setting.value for setting in pod.annotations}
    derived: Object = {"metadata": metadata, "spec": _pod_spec(pod, container, labels)}
    template = _consistent(merged(derived, pod.overrides))
    return _with_labels(_checked_as_run(template, container), labels)


def _checked_as_run(template: Object, container: str) -> Object:
    """Give the check all that the engine has, whatever the user made of it."""
    engine = next(each for each in template["spec"]["containers"] if each["name"] == container)
    alike = {key: engine[key] for key in _ALIKE if key in engine}
    starting = [
        {"name": CHECK, **alike, **each} if each["name"] == CHECK else each
        for each in template["spec"].get("initContainers", [])
    ]
    return {**template, "spec": {**template["spec"], "initContainers": starting}} if starting else template


def _consistent(template: Object) -> Object:
    # All processes of the node are those of the pod as well, and a pod may not ask for both.
    if not template["spec"].get("hostPID"):
        return template
    kept = {key: value for key, value in template["spec"].items() if key != "shareProcessNamespace"}
    return {**template, "spec": kept}


def _with_labels(template: Object, labels: Mapping[str, str]) -> Object:
    # Selectors depend on our labels: an override may add labels but never change these.
    kept = {**template["metadata"].get("labels", {}), **labels}
    return {**template, "metadata": {**template["metadata"], "labels": kept}}


def _pod_spec(pod: PodPlan, container: str, labels: Mapping[str, str]) -> Object:
    # A pod without an account of its own has no use for the Kubernetes API, and gets no key to it.
    account: Object = (
        {"automountServiceAccountToken": False}
        if pod.service_account is None
        else {"serviceAccountName": pod.service_account}
    )
    spec: Object = {
        **account,
        "securityContext": pod_security(pod.security),
        "terminationGracePeriodSeconds": pod.grace_seconds,
        "enableServiceLinks": False,
        "containers": [_container(pod, container)],
        "volumes": [{"name": mount.name, **mount.volume} for mount in _mounts(pod)],
    }
    starting = [
        *([] if pod.check is None else [_check(pod.check)]),
        *([] if pod.download is None else [download_container(pod.download)]),
        *([] if pod.prepare is None else [_prepare(pod, pod.prepare)]),
        *([] if pod.gate is None else [_gate(pod, pod.gate)]),
        *([] if pod.agent is None else [agent_container(pod, pod.agent)]),
    ]
    if starting:
        spec["initContainers"] = starting
    if pod.agent is not None:
        # The agent reads what libraries the engine's processes have loaded.
        spec["shareProcessNamespace"] = True
    if pod.readiness_gate is not None:
        spec["readinessGates"] = [{"conditionType": pod.readiness_gate}]
    if pod.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pod.pull_secrets]
    # The user's labels come last: a node pool may be named more closely than the profile does.
    selector = {**{label.name: label.value for label in pod.node_labels}, **pod.node_selector}
    if selector:
        spec["nodeSelector"] = selector
    tolerations = [*(each.toleration for each in pod.derived_tolerations), *pod.tolerations]
    if tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in tolerations]
    placed = affinity(pod, labels)
    if placed:
        spec["affinity"] = placed
    if pod.claims:
        spec["resourceClaims"] = [
            {"name": claim.name, "resourceClaimTemplateName": claim.template} for claim in pod.claims
        ]
    return spec


def _mounts(pod: PodPlan) -> tuple[Mount, ...]:
    """Return the mounts of all containers."""
    return pod.mounts if pod.agent is None else (*pod.mounts, *pod.agent.mounts)


def _resources(pod: PodPlan) -> Object:
    """Return CPU and memory, claims, and devices and huge pages, as many requested as limited."""
    found: Object = {key: dict(value) for key, value in pod.resources.items()}
    fixed = {device.name: str(device.count) for device in pod.devices}
    fixed |= {pages.name: pages.value for pages in pod.huge_pages}
    if fixed:
        for key in ("requests", "limits"):
            found[key] = {**found.get(key, {}), **fixed}
    if pod.claims:
        found["claims"] = [{"name": claim.name} for claim in pod.claims]
    return found


def _container(pod: PodPlan, name: str) -> Object:
    container: Object = {
        "name": name,
        "image": pod.image,
        "command": list(pod.command),
        "env": [variable(setting) for setting in pod.environment],
        "ports": [{"name": port.name, "containerPort": port.number, "protocol": "TCP"} for port in pod.ports],
        "resources": _resources(pod),
        "securityContext": container_security(pod.security),
        "startupProbe": _probe(pod.startup),
        "livenessProbe": _probe(pod.liveness),
        "readinessProbe": _probe(pod.readiness),
        "volumeMounts": [volume_mount(mount) for mount in pod.mounts],
        # The end of the log of a container that died says more than an empty message.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if pod.drain is not None:
        container["lifecycle"] = {"preStop": {"exec": {"command": list(pod.drain.command)}}}
    if pod.pull_policy is not None:
        container["imagePullPolicy"] = pod.pull_policy
    return container


def _check(check: CheckPlan) -> Object:
    return {
        "name": CHECK,
        "command": list(check.command),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _gate(pod: PodPlan, gate: GatePlan) -> Object:
    return _before(pod, GATE, gate.command)


def _prepare(pod: PodPlan, prepare: PreparePlan) -> Object:
    seen = [volume_mount(mount) for mount in pod.mounts]
    return {**_before(pod, PREPARE, prepare.command), "volumeMounts": seen}


def _before(pod: PodPlan, name: str, command: Iterable[str]) -> Object:
    """Return a small container that ends before the pod's own starts, from the same image."""
    container: Object = {
        "name": name,
        "image": pod.image,
        "command": list(command),
        # As much requested as limited: a pod that is guaranteed what it asks for stays so.
        "resources": {"requests": _SMALL, "limits": _SMALL},
        "securityContext": container_security(replace(RESTRICTED, own_user=pod.security.own_user)),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if pod.pull_policy is not None:
        container["imagePullPolicy"] = pod.pull_policy
    return container


def _probe(probe: Probe) -> Object:
    asked: Object = (
        {"httpGet": {"path": probe.path, "port": probe.port}}
        if isinstance(probe, HttpProbe)
        else {"exec": {"command": list(probe.command)}}
    )
    return {
        **asked,
        "periodSeconds": probe.period,
        "failureThreshold": probe.failures,
        "timeoutSeconds": probe.timeout,
        **({} if probe.grace is None else {"terminationGracePeriodSeconds": probe.grace}),
    }
