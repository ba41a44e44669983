"""Workers that take a part of a node: which one Kubernetes' own scheduler gives them, by its own settings."""

from typing import Any

import pytest

from integration.operator.control_plane import eventually
from integration.platforms.racks import RackDeployment

pytestmark = pytest.mark.apiserver

MACHINES = 4
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
QUARTERS: dict[str, Any] = {"replicas": 4, "parallelism": {"tensor": 2}}
WHOLE: dict[str, Any] = {"parallelism": {"tensor": 8}}


@pytest.fixture
def machines(demo: RackDeployment) -> list[str]:
    """Machines of eight GPUs each, just for this test."""
    offered = {"nvidia.com/gpu": "8", "memory": "2Ti", "cpu": "192"}
    return demo.platform.add_nodes(MACHINES, prefix=f"gpu-{demo.name}", allocatable=offered, channel=False)


def nodes(demo: RackDeployment, role: str) -> list[str]:
    """Return the node of each worker of a role that has one."""
    return [
        pod["spec"]["nodeName"]
        for pod in demo.pods()
        if pod["metadata"]["labels"]["disagg.dev/role"] == role and "nodeName" in pod["spec"]
    ]


def test_they_fill_a_node_so_that_whole_ones_are_left_to_those_that_need_one(
    demo: RackDeployment, machines: list[str]
) -> None:
    demo.create(platform="generic", prefill=QUARTERS, decode={**WHOLE, "replicas": MACHINES - 1})
    eventually(lambda: len(nodes(demo, "decode")) == MACHINES - 1, "each decode worker has a node")
    eventually(lambda: len(nodes(demo, "prefill")) == QUARTERS["replicas"], "prefill workers share the other")
    assert {*nodes(demo, "prefill"), *nodes(demo, "decode")} == {*machines}


def test_they_are_spread_where_the_user_takes_the_wish_away(
    demo: RackDeployment, machines: list[str]
) -> None:
    spread: dict[str, Any] = {"spec": {"affinity": {"podAffinity": {PREFERRED: []}}}}
    demo.create(
        platform="generic", prefill={**QUARTERS, "podTemplate": spread}, decode={**WHOLE, "replicas": 0}
    )
    eventually(lambda: len(nodes(demo, "prefill")) == QUARTERS["replicas"], "each prefill worker has a node")
    assert sorted(nodes(demo, "prefill")) == sorted(machines)
