"""A kind cluster: Kubernetes in Docker containers, for machines that have Docker and kind."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from testcluster.commands import logged, output, succeeds
from testcluster.console import Progress
from testcluster.controlplane import AUDIT_POLICY, AUTOSCALER_PERIOD
from testcluster.errors import ClusterError
from testcluster.paths import Paths
from testcluster.providers.base import Image, Part, ProviderName

CLUSTER = "disagg"
NODE = f"{CLUSTER}-control-plane"
AUDIT_FOLDER = "/var/log/kubernetes"
POLICY_FOLDER = "/etc/kubernetes/audit"
WAIT = "180s"


def kind_usable() -> bool:
    """Whether kind and a running Docker are on this machine."""
    return succeeds(["kind", "version"]) and succeeds(["docker", "info", "--format", "{{.ServerVersion}}"])


def kind_config(policy: Path, audit: Path, image: str = "") -> dict[str, Any]:
    """Kind's configuration: one node whose API server writes its audit log to this machine.

    Args:
        policy: Folder of this machine with `policy.yaml`.
        audit: Folder of this machine that gets `audit.log`.
        image: Image of the node, which decides Kubernetes' version; kind's own if empty.
    """
    volumes = [
        {"name": "audit-policy", "hostPath": POLICY_FOLDER, "mountPath": POLICY_FOLDER, "readOnly": True},
        {"name": "audit-log", "hostPath": AUDIT_FOLDER, "mountPath": AUDIT_FOLDER, "readOnly": False},
    ]
    arguments = {
        "audit-policy-file": f"{POLICY_FOLDER}/policy.yaml",
        "audit-log-path": f"{AUDIT_FOLDER}/audit.log",
        "audit-log-maxsize": "2000",
    }
    # kubeadm's v1beta3 form, a map of arguments, is the one that kind merges for every Kubernetes version.
    patch = {
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": arguments,
            "extraVolumes": [
                volume | {"pathType": "DirectoryOrCreate" if volume["name"] == "audit-log" else "Directory"}
                for volume in volumes
            ],
        },
        "controllerManager": {"extraArgs": {"horizontal-pod-autoscaler-sync-period": AUTOSCALER_PERIOD}},
    }
    mounts = [
        {"hostPath": str(policy), "containerPath": POLICY_FOLDER, "readOnly": True},
        {"hostPath": str(audit), "containerPath": AUDIT_FOLDER},
    ]
    node = {
        "role": "control-plane",
        **({"image": image} if image else {}),
        "extraMounts": mounts,
        "kubeadmConfigPatches": [yaml.safe_dump(patch)],
    }
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "name": CLUSTER, "nodes": [node]}


class KindProvider:
    """A kind cluster of one node, named `disagg`."""

    name: ProviderName = "kind"

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self.paths = paths
        self.progress = progress
        self.home = paths.cache / "kind"
        self.kubeconfig = self.home / "kubeconfig"
        self.audit_log: Path | None = self.home / "audit/audit.log"
        self.log = paths.build_logs / "kind.log"

    def up(self) -> None:
        """Create the cluster unless it exists, and write its kubeconfig."""
        if not kind_usable():
            raise ClusterError(
                "CLUSTER=kind needs kind and a running Docker", remedy="install them, or use CLUSTER=local"
            )
        policy, audit = self.home / "policy", self.home / "audit"
        for folder in (policy, audit):
            folder.mkdir(parents=True, exist_ok=True)
        (policy / "policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY), encoding="utf-8")
        config = self.home / "config.yaml"
        image = os.environ.get("DISAGG_KIND_NODE", "")
        config.write_text(yaml.safe_dump(kind_config(policy, audit, image)), encoding="utf-8")
        if not self._exists():
            with self.progress.step("Create the kind cluster"):
                create = ["kind", "create", "cluster", "--config", str(config), "--wait", WAIT]
                logged([*create, "--kubeconfig", str(self.kubeconfig)], self.log)
        logged(
            ["kind", "export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", str(self.kubeconfig)],
            self.log,
        )

    def down(self) -> None:
        """Delete the cluster and its files."""
        if self._exists():
            with self.progress.step("Delete the kind cluster"):
                delete = [
                    "kind",
                    "delete",
                    "cluster",
                    "--name",
                    CLUSTER,
                    "--kubeconfig",
                    str(self.kubeconfig),
                ]
                logged(delete, self.log)
        for path in sorted(self.home.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def status(self) -> Sequence[Part]:
        """Whether the cluster exists and its node's container runs."""
        exists = self._exists()
        running = exists and succeeds(["docker", "exec", NODE, "crictl", "ps", "-q"])
        return [Part("cluster", exists, CLUSTER), Part("node", running, NODE)]

    def load(self, images: Sequence[Image]) -> None:
        """Load the images that the node does not hold."""
        listed = output(["docker", "exec", NODE, "ctr", "-n", "k8s.io", "images", "ls", "-q"])
        held = {reference.removeprefix("docker.io/library/") for reference in listed.split()}
        for image in images:
            if image.archive is not None and image.reference not in held:
                with self.progress.step(f"Load {image.reference}"):
                    logged(["kind", "load", "image-archive", str(image.archive), "--name", CLUSTER], self.log)

    def _exists(self) -> bool:
        return CLUSTER in output(["kind", "get", "clusters"]).split()
