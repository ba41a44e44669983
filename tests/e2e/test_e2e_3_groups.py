"""TensorRT-LLM's workers on a real kubelet: pod groups are started anew as wholes, and wedged workers.

SIMULATED is the engine: the image is the worker's, in which the launch script finds no shell, so that each
rank dies at once; a worker on one node is a program that says what TensorRT-LLM says of a poisoned buffer.
How ranks that live start together is tried in tests/e2e/launch.
"""

from collections.abc import Iterator

import pytest

from disagg_operator.plan.programs.watch_output import WEDGED
from disagg_operator.reconcile.groups.restarts import RESTARTS
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


# SIMULATED TensorRT-LLM: it says once, when it has served for a moment, that it is poisoned.
POISONED = (
    "Cannot assign cache transfer buffer kind=kv because a previous transfer left the buffer pool poisoned."
)
ENGINE = f"""
import http.server, pathlib, threading, time
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.ThreadingHTTPServer(("", 9090), Health)
once = pathlib.Path("/tmp/poisoned")
def poison():
    time.sleep(5)
    once.touch()
    print("[TensorRT-LLM][ERROR] {POISONED}", flush=True)
if not once.exists():
    threading.Thread(target=poison, daemon=True).start()
server.serve_forever()
"""
SIMULATED: Object = {
    "spec": {
        "containers": [
            {
                "name": "worker",
                "resources": NONE,
                "env": [{"name": "PYTHONPATH", "value": "/simulated"}],
                "volumeMounts": [{"name": "simulated", "mountPath": "/simulated"}],
            }
        ],
        "initContainers": [{"name": "preflight", **NONE}],
        "volumes": [
            {
                "name": "simulated",
                "configMap": {
                    "name": "simulated",
                    "items": [
                        {"key": "package", "path": "dynamo/__init__.py"},
                        {"key": "engine", "path": "dynamo/trtllm.py"},
                    ],
                },
            }
        ],
    }
}


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    """A namespace that admits all pods, as TensorRT-LLM's image runs as a user of its own."""
    kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def deployed(installed: Installed, cluster: Cluster, place: str, name: str, decode: Object) -> Deployment:
    """Make a deployment that consists of decode workers alone."""
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "platform": "generic",
            "runtime": {"engine": "trtllm", "image": cluster.images["worker"]},
            "prefill": {"replicas": 0},
            "decode": decode,
            "frontend": {"replicas": 0},
        },
    }
    installed.kubectl.apply_to(place, resource)
    return Deployment(installed.kubectl, place, name)


@pytest.fixture
def group(installed: Installed, cluster: Cluster, place: str) -> Iterator[Deployment]:
    """A deployment whose decode instance is a group of two pods."""
    decode = {"nodesPerReplica": 2, "parallelism": {"tensor": 2}, "podTemplate": ANYWHERE}
    deployment = deployed(installed, cluster, place, "groups", decode)
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


def test_a_worker_whose_engine_says_it_is_broken_is_started_anew(
    installed: Installed, cluster: Cluster, place: str
) -> None:
    program = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "simulated"}}
    installed.kubectl.apply_to(place, {**program, "data": {"package": "", "engine": ENGINE}})
    deployment = deployed(installed, cluster, place, "wedged", {"replicas": 1, "podTemplate": SIMULATED})
    try:

        def served_again() -> Object:
            found = [
                container
                for pod in deployment.pods("decode")
                for container in pod.get("status", {}).get("containerStatuses", [])
            ]
            assert [(worker["restartCount"], worker["ready"]) for worker in found] == [(1, True)], found
            ended: Object = found[0]["lastState"]["terminated"]
            return ended

        ended = eventually(served_again, 150)
        assert ended["exitCode"] == WEDGED
        assert POISONED in ended["message"]

        def told() -> None:
            assert POISONED in deployment.read()["status"]["roles"]["decode"].get("wedged", "")
            events = deployment.kubectl(
                "get",
                "events",
                f"--namespace={place}",
                "--field-selector=reason=WorkerWedged",
                "--output=jsonpath={.items[*].message}",
            )
            assert POISONED in events

        eventually(told, 60)
    finally:
        deployment.delete()
