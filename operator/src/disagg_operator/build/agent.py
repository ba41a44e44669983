"""The transport agent's container: a native sidecar, which starts before the engine and ends after it.

Invariant: a pod that is guaranteed what it asks for stays so, and one that keeps to the restricted Pod
Security Standard does so still.
"""

from collections.abc import Mapping
from typing import Any

from disagg_operator.build.environment import variable
from disagg_operator.build.metadata import Object
from disagg_operator.build.mounts import volume_mount
from disagg_operator.plan.model import AgentPlan, PodPlan

AGENT = "transport-agent"
"""Name of the container."""
_REQUESTS = {"cpu": "10m", "memory": "48Mi"}
_LIMITS = {"memory": "96Mi"}
_FIXED = {"cpu": "100m", "memory": "96Mi"}
"""As much requested as limited: less CPU than this would stall it whenever it is asked."""
_INSPECT = "SYS_PTRACE"
"""Lets a process read what another user's process has loaded."""


def agent_container(pod: PodPlan, agent: AgentPlan) -> Object:
    """Return the agent of a worker pod. No probe of it decides over the worker.

    Args:
        pod: the worker's pod.
        agent: its agent.
    """
    container: Object = {
        "name": AGENT,
        "image": agent.image,
        "restartPolicy": "Always",
        "command": list(agent.command),
        "env": [variable(setting) for setting in agent.environment],
        "ports": [{"name": agent.port.name, "containerPort": agent.port.number, "protocol": "TCP"}],
        "resources": (
            {"requests": _FIXED, "limits": _FIXED}
            if _is_guaranteed(pod.resources)
            else {"requests": _REQUESTS, "limits": _LIMITS}
        ),
        "securityContext": _security(agent),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if agent.mounts:
        container["volumeMounts"] = [volume_mount(mount) for mount in agent.mounts]
    if pod.pull_policy is not None:
        container["imagePullPolicy"] = pod.pull_policy
    return container


def _is_guaranteed(resources: Mapping[str, Any]) -> bool:
    """Tell whether a container is guaranteed its CPU and memory: none limited above what is requested."""
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    return all(name in limits and requests.get(name, limits[name]) == limits[name] for name in _FIXED)


def _security(agent: AgentPlan) -> Object:
    capabilities: Object = {"drop": ["ALL"]}
    context: Object = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    if agent.inspects:
        capabilities["add"] = [_INSPECT]
        context |= {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0}
    elif agent.user is not None:
        context |= {"runAsNonRoot": True, "runAsUser": agent.user}
    if agent.unconfined:
        # A profile of the container runtime lets only its own kind be looked into; see apparmor.d(5), ptrace.
        context["appArmorProfile"] = {"type": "Unconfined"}
    return {**context, "capabilities": capabilities}
