"""Nodes of the cluster, drained as a person at a terminal does it."""

import json
import subprocess

from e2e.cluster_client import Kubectl, eventually
from e2e.deployments import Deployment

DRAIN_SECONDS = 500


def drain(deployment: Deployment, selector: str) -> str:
    """Drain the nodes of some pods, of these alone; return what kubectl told.

    There may be one node alone, on which the pods' successors must find a place: it is uncordoned again as
    soon as the drain has begun.
    """
    kubectl = deployment.kubectl
    pods = kubectl.list("pods", deployment.namespace, selector)
    return "".join(_drain(kubectl, node, selector) for node in {pod["spec"]["nodeName"] for pod in pods})


def _drain(kubectl: Kubectl, node: str, selector: str) -> str:
    argv = kubectl.argv("drain", node, f"--pod-selector={selector}", "--delete-emptydir-data")
    with subprocess.Popen(
        [*argv, f"--timeout={DRAIN_SECONDS}s"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:

            def cordoned() -> None:
                found = json.loads(kubectl("get", "node", node, "--output=json"))
                assert found["spec"].get("unschedulable"), "the node is not cordoned yet"

            eventually(cordoned, 60, every=0.1)
            kubectl("uncordon", node)
            told, _ = process.communicate(timeout=DRAIN_SECONDS + 60)
        finally:
            process.kill()
            kubectl("uncordon", node)
    assert process.returncode == 0, told
    return told
