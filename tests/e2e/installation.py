"""The chart as these tests install it, and what it takes to start and end with a clean cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from chart.helm import CHART, RELEASE, Helm
from e2e.audit import AuditTrail
from e2e.cluster_client import Kubectl
from testcluster.demo import OUR_CRDS

ROOT = CHART.parents[1]
SYSTEM = "disagg-system"
NAMESPACE = "disagg-e2e"
OTHER_NAMESPACE = "disagg-e2e-other"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
UNPRIVILEGED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of containers that a restricted namespace admits."""


@dataclass(frozen=True)
class Installed:
    """The chart, installed for the whole cluster.

    Attributes:
        helm: helm with the cluster's kubeconfig.
        kubectl: kubectl with the cluster's kubeconfig.
        values: settings that name the local images.
        audit: what the API server noted since then; None where it keeps that to itself.
        images: names of the local images.
    """

    helm: Helm
    kubectl: Kubectl
    values: tuple[str, ...]
    audit: AuditTrail | None
    images: Mapping[str, str]

    def release(self, verb: str, name: str, namespace: str, *more: str, chart: Path = CHART) -> None:
        """Install or upgrade a release with the local images, and wait until it is ready.

        Args:
            verb: install or upgrade.
            name: name of the release.
            namespace: its namespace.
            more: further settings.
            chart: folder of the chart.
        """
        ready = ("--wait", "--timeout", "90s")
        self.helm(verb, name, chart, "--namespace", namespace, *self.values, *more, *ready, timeout=120)

    def operator_pods(self) -> list[str]:
        """Return the names of the operator's pods that are not being deleted."""
        pods = self.kubectl.list("pods", SYSTEM, "app.kubernetes.io/component=operator")
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def kill_operator(self) -> None:
        """End the operator with no time to hand over."""
        self.kubectl(
            "delete", "pod", *self.operator_pods(), f"--namespace={SYSTEM}", "--grace-period=0", "--force"
        )


def make_namespace(kubectl: Kubectl, name: str) -> str:
    """Make a namespace that admits restricted pods only, if it is not there."""
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    kubectl("apply", "--filename=-", stdin=yaml.safe_dump(made))
    kubectl("label", "namespace", name, RESTRICTED, "--overwrite")
    return name


def remove_everything(helm: Helm, kubectl: Kubectl) -> None:
    """Remove what this run, or one that was killed, has put into the cluster."""
    mine = [RELEASE, "namespaced"]
    kubectl("delete", "namespace", NAMESPACE, OTHER_NAMESPACE, "--ignore-not-found", timeout=900)
    for release in yaml.safe_load(helm("list", "--all-namespaces", "--output=json")):
        if release["name"] in mine:
            helm("uninstall", release["name"], "--namespace", release["namespace"], "--wait")
    kubectl("delete", "crd", f"--selector={OUR_CRDS}")
    kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", timeout=900)
