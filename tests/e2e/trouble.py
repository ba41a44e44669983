"""What the cluster says about pods that are not ready: told beside a test that failed, while it is still so.

Short on purpose: a run's record may keep only a part of what is printed.
"""

import subprocess

from e2e.cluster_client import Kubectl, KubectlError, Object
from testcluster.demo import pod_state, summary

EVENTS = 4
LINES = 12
"""Of a pod's last events, and of the log of each of its containers, before and after its last restart."""
SECONDS = 20.0
"""Longest time for one answer of the cluster."""


def trouble(kubectl: Kubectl, namespace: str) -> str:
    """Return what deployments say of themselves, and for each pod that is not ready its events and logs.

    Args:
        kubectl: the cluster.
        namespace: where the deployments are.
    """
    try:
        deployments = kubectl.list("disaggdeployments", namespace)
        pods = kubectl.list("pods", namespace)
    except (KubectlError, subprocess.TimeoutExpired) as error:
        return f"the cluster does not answer: {error}"
    lines = [", ".join(f"{pod['metadata']['name']} {pod_state(pod)}" for pod in pods)]
    for deployment in deployments:
        states = (f"{what} {state}" for what, state in summary(deployment, []).items())
        lines.append(f"{deployment['metadata']['name']}: {'; '.join(states)}")
    for pod in pods:
        if pod_state(pod) != "Ready":
            lines += _of_pod(kubectl, pod)
    return "\n".join(lines)


def _of_pod(kubectl: Kubectl, pod: Object) -> list[str]:
    name, status = pod["metadata"]["name"], pod["status"]
    lines = [f"--- {name}, made {pod['metadata']['creationTimestamp']}"]
    about = f"--field-selector=involvedObject.name={name}"
    events = ("get", "events", about, "--sort-by=.metadata.creationTimestamp", "--no-headers")
    lines += _told(kubectl, pod, *events)[-EVENTS:]
    for each in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        if each["ready"] or each["state"].get("terminated", {}).get("exitCode") == 0:
            continue
        last = each.get("lastState") or "no end before"
        lines.append(f"{each['name']}: {each['state']}, {each['restartCount']} restarts, {last}")
        log = ("logs", name, f"--container={each['name']}", f"--tail={LINES}")
        lines += _told(kubectl, pod, *log)
        if each.get("lastState"):
            lines += _told(kubectl, pod, *log, "--previous")
    return lines


def _told(kubectl: Kubectl, pod: Object, *arguments: str) -> list[str]:
    try:
        told = kubectl(*arguments, f"--namespace={pod['metadata']['namespace']}", timeout=SECONDS)
    except (KubectlError, subprocess.TimeoutExpired) as error:
        told = str(error)
    return told.strip().splitlines()
