"""Workers that were ended because their engine said that it could no longer move KV cache. Pure.

The container ends by itself with an exit code of its own (`plan.watch_output`), and the kubelet starts it
anew, or the operator its whole group: here it is only told.
"""

from collections.abc import Iterable

from disagg_operator.build.statefulset import CONTAINER
from disagg_operator.plan.programs.watch_output import WEDGED
from disagg_operator.reconcile.kinds import Object

_LONGEST = 500


def last_wedged(pods: Iterable[Object]) -> str | None:
    """Say which of these pods was ended last for what its engine said, when, and what that was."""
    ends = [
        (ended["finishedAt"], pod["metadata"]["name"], str(ended.get("message", "")).strip())
        for pod in pods
        for container in pod.get("status", {}).get("containerStatuses", [])
        if container["name"] == CONTAINER
        for state in ("lastState", "state")
        if (ended := container.get(state, {}).get("terminated")) and ended.get("exitCode") == WEDGED
    ]
    if not ends:
        return None
    at, name, message = max(ends)
    said = message.splitlines()[-1] if message else "KV transfer is broken until this worker is started anew"
    return f"Pod {name} was started anew at {at}: {said}"[:_LONGEST]
