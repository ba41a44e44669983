"""Security contexts of pods and containers. What needs no privilege gets none."""

from disagg_operator.build.metadata import Object
from disagg_operator.plan.model import SecurityPlan

USER = 65532
"""Unprivileged user and group of our images."""

_SECCOMP: Object = {"type": "RuntimeDefault"}


def pod_security(security: SecurityPlan) -> Object:
    """Return the security context of a pod."""
    if security.own_user:
        return {"seccompProfile": _SECCOMP}
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": _SECCOMP,
    }


def container_security(security: SecurityPlan) -> Object:
    """Return the security context of a container."""
    # A capability has no effect for another user. Of whom an image that brings its own is, it knows.
    root = {"runAsNonRoot": False, "runAsUser": 0, "runAsGroup": 0}
    user = root if security.mode != "Restricted" and not security.own_user else {}
    if security.mode == "Privileged":
        # The API server refuses a privileged container that may not escalate; it has all capabilities.
        return {"privileged": True, **user}
    capabilities: Object = {"drop": ["ALL"]}
    if security.capabilities:
        capabilities["add"] = list(security.capabilities)
    return {
        "allowPrivilegeEscalation": False,
        **user,
        **({} if security.own_user else {"readOnlyRootFilesystem": True}),
        "capabilities": capabilities,
    }
