"""What the cluster says about pods that are not ready: told beside a test that failed, while it is still so.

Short on purpose: a run's record may keep only a part of what is printed.
"""

from e2e.cluster_client import Kubectl, KubectlError, Object
from testcluster.demo import pod_state, summary

EVENTS = 4
LINES = 12
"""Of a pod's last events, and of each of its containers' log, before and after its last restart."""


def trouble(kubectl: Kubectl, namespace: str) -> str:
    """Return what deployments say of themselves, and for each pod that is not ready its events and logs.

    Args:
        kubectl: the cluster.
        namespace: where the deployments are.
    """
    try:
        deployments = kubectl.list("disaggdeployments", namespace)
        pods = kubectl.list("pods", namespace)
    except KubectlError as error:
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
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    lines = [f"--- {name}, made {pod['metadata']['creationTimestamp']}"]
    for status in pod["status"].get("containerStatuses", []):
        last = status.get("lastState") or "no end before"
        lines.append(f"{status['name']}: {status['state']}, {status['restartCount']} restarts, {last}")
    about = f"--field-selector=involvedObject.name={name}"
    order = "--sort-by=.metadata.creationTimestamp"
    for arguments, count in (
        (("get", "events", about, order, "--no-headers"), EVENTS),
        (("logs", name, "--all-containers", "--prefix", f"--tail={LINES}"), 3 * LINES),
        (("logs", name, "--all-containers", "--prefix", f"--tail={LINES}", "--previous"), LINES),
    ):
        try:
            lines += kubectl(*arguments, f"--namespace={namespace}").splitlines()[-count:]
        except KubectlError as error:
            lines.append(str(error).strip())
    return lines
