"""Pod groups on a real kubelet: made with a key of their own, started anew as wholes, gone without a trace.

SIMULATED is the engine's image: the worker's image, in which the launch script finds no shell, so that each
rank dies at once. How ranks that live start together is tried in tests/e2e/launch.
"""

from collections.abc import Iterator

import pytest

from disagg_operator.reconcile.groups import RESTARTS
from e2e.cluster_client import Kubectl, Object, eventually
from e2e.deployments import Deployment
from e2e.installation import Installed
from testcluster.session import Cluster

pytestmark = pytest.mark.cluster

NAMESPACE = "disagg-e2e-groups"
# One node has room for all ranks, and they need no GPU, and no TensorRT-LLM, to die.
NONE: Object = {"$patch": "delete"}
ANYWHERE: Object = {
    "spec": {
        "affinity": NONE,
        "containers": [{"name": "worker", "resources": NONE}],
        "initContainers": [{"name": "preflight", **NONE}],
    }
}


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    """A namespace that admits all pods, as TensorRT-LLM's image runs as a user of its own."""
    kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def group(installed: Installed, cluster: Cluster, place: str) -> Iterator[Deployment]:
    """A deployment whose decode instance is a group of two pods."""
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "groups"},
        "spec": {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "platform": "generic",
            "runtime": {"engine": "trtllm", "image": cluster.images["worker"]},
            "prefill": {"replicas": 0},
            "decode": {"nodesPerReplica": 2, "parallelism": {"tensor": 2}, "podTemplate": ANYWHERE},
            "frontend": {"replicas": 0},
        },
    }
    installed.kubectl.apply_to(place, resource)
    deployment = Deployment(installed.kubectl, place, "groups")
    yield deployment
    deployment.delete()


def test_a_group_whose_ranks_die_is_started_anew_as_a_whole(group: Deployment) -> None:
    def pods() -> dict[str, str]:
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in group.pods("decode")}

    def both() -> dict[str, str]:
        found = pods()
        assert len(found) == 2
        return found

    first = eventually(both, 60)

    def replaced() -> None:
        now = pods()
        assert now.keys() == first.keys()
        assert not set(now.values()) & set(first.values()), "all pods of the group are new"

    eventually(replaced, 90)
    (stateful_set,) = (
        found
        for found in group.children("statefulsets", "decode")
        if "disagg.dev/group" in found["metadata"]["labels"]
    )
    assert int(stateful_set["metadata"]["annotations"][RESTARTS]) >= 1

    def told() -> None:
        message = group.condition("Progressing")["message"]
        assert "Pod group 0 was started anew (" in message
        assert f"because pod {stateful_set['metadata']['name']}-" in message

    eventually(told, 90)


def test_the_key_of_a_group_goes_with_it(group: Deployment) -> None:
    def secrets() -> list[Object]:
        return group.kubectl.list("secrets", NAMESPACE, group.selector())

    def made() -> Object:
        (secret,) = secrets()
        return secret

    secret = eventually(made, 60)
    assert secret["data"].keys() == {"ssh-privatekey", "ssh-publickey"}
    group.delete()

    def gone() -> None:
        assert not secrets()

    eventually(gone, 60)
