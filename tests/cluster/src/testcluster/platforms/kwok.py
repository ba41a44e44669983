"""KWOK, which stands in for the kubelets of machines that do not exist."""

from pathlib import Path

import yaml

from testcluster.processes import Supervisor
from testcluster.toolchain import Tools

NODES = "kwok.x-k8s.io/node=fake"
LEASE_SECONDS = 40
"""As a kubelet's, which renews it four times in that time."""
DELETE_MILLISECONDS = 1000
"""What a pod takes to end. KWOK deletes by name, and once more for each event that comes meanwhile: without a
pause, in which it learns that the pod is gone, it deletes the successor of the same name, on and on."""
STAGES = (
    "node/fast/node-initialize.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)


def start_kwok(parts: Tools, kubeconfig: Path, supervisor: Supervisor, directory: Path) -> None:
    """Have KWOK keep nodes Ready, run the pods on them, and remove pods that are being deleted.

    Args:
        parts: KWOK and its stages.
        kubeconfig: Administrator of the control plane.
        supervisor: Starts it.
        directory: A folder of its own.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stages = [
        yaml.safe_load((parts.directory / "stages" / stage).read_text(encoding="utf-8")) for stage in STAGES
    ]
    for stage in stages:
        if stage["spec"]["next"].get("delete"):
            stage["spec"]["delay"] = {"durationMilliseconds": DELETE_MILLISECONDS}
    config = directory / "stages.yaml"
    config.write_text(yaml.safe_dump_all(stages), encoding="utf-8")
    argv = [parts.path("kwok"), f"--kubeconfig={kubeconfig}", f"--config={config}"]
    argv += [f"--manage-nodes-with-annotation-selector={NODES}"]
    # Without Leases nodes are taken for lost every minute, and their pods for not ready from then on.
    supervisor.ensure("kwok", [*argv, f"--node-lease-duration-seconds={LEASE_SECONDS}"])
