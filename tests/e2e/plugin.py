"""`kubectl disagg` as a user calls it, on the test cluster."""

import subprocess

from e2e.installation import NAMESPACE
from integration.cli.program import PROGRAM
from testcluster.session import Cluster


def disagg(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the plugin against the shared namespace."""
    command = [str(PROGRAM), *arguments, "--namespace", NAMESPACE, "--kubeconfig", str(cluster.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
