"""The containers of a pod that run as long as it does. Pure."""

from disagg_operator.reconcile.kinds import Object


def lasting(pod: Object) -> list[Object]:
    """Return the statuses of a pod's containers, and of its sidecars, which stand among the init containers.

    Args:
        pod: the pod.
    """
    sidecars = {
        each["name"]
        for each in pod.get("spec", {}).get("initContainers", [])
        if each.get("restartPolicy") == "Always"
    }
    status = pod.get("status", {})
    beside = [each for each in status.get("initContainerStatuses", []) if each.get("name") in sidecars]
    return [*beside, *status.get("containerStatuses", [])]
