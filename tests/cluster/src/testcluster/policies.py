"""NetworkPolicies enforced on the embedded cluster's node, for as long as a test wants that.

The engine is kube-router's controller of network policies, which filters with the machine's iptables and
ipset. kube-network-policies needs what CONFIG_NFT_QUEUE brings, which many kernels are built without.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from testcluster.commands import output
from testcluster.console import Progress
from testcluster.controlplane import SERVICE_RANGE
from testcluster.errors import ClusterError
from testcluster.node import NODE, POLICY_ENGINE
from testcluster.paths import REPOSITORY, default_paths
from testcluster.processes import Supervisor
from testcluster.session import Cluster, open_session
from testcluster.toolchain import Build, ensure_build

ENGINE = Build(
    title="Build kube-router's enforcement of NetworkPolicies",
    module=REPOSITORY / "tests/cluster/policies",
    sources=("main.go",),
    targets={POLICY_ENGINE: "."},
)
_CHAIN_PREFIXES = ("KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-")
_CLEAN_UP_SECONDS = 30.0


@contextmanager
def enforced(cluster: Cluster) -> Iterator[None]:
    """Have NetworkPolicies enforced, where the cluster does not do that by itself.

    Args:
        cluster: Where; nothing is started for one that is not the embedded one.

    Raises:
        ClusterError: If the engine cannot be built, or left rules behind.
    """
    if cluster.provider != "local":
        yield
        return
    session = open_session(os.environ, Progress())
    program = ensure_build(ENGINE, session.paths, session.progress).path(POLICY_ENGINE)
    supervisor = Supervisor(default_paths().state / "pids", default_paths().logs)
    supervisor.ensure(
        POLICY_ENGINE,
        [
            program,
            f"--kubeconfig={cluster.kubeconfig}",
            f"--hostname-override={NODE}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
        ],
    )
    try:
        yield
    finally:
        supervisor.stop(POLICY_ENGINE, grace_seconds=_CLEAN_UP_SECONDS)
        left = [line for line in output(["iptables-save", "-t", "filter"]).splitlines() if _is_ours(line)]
        if left:
            raise ClusterError(
                f"the policy engine left rules behind: {left[0]}", log=supervisor.log(POLICY_ENGINE)
            )


def _is_ours(line: str) -> bool:
    return any(prefix in line for prefix in _CHAIN_PREFIXES)
