"""`kubectl disagg` as a user calls it, on the test cluster."""

import subprocess
import sys
from pathlib import Path

from e2e.installation import NAMESPACE
from testcluster.session import Cluster

PROGRAM = Path(sys.executable).with_name("kubectl-disagg")


def disagg(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the plugin against the shared namespace."""
    command = [str(PROGRAM), *arguments, "--namespace", NAMESPACE, "--kubeconfig", str(cluster.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
