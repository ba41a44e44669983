"""trtllm-serve on a real API server: lists that follow scaling, with their orchestrators, and the key."""

import base64
from typing import Any

import pytest

from integration.operator.control_plane import Deployed, Object, eventually
from unit.plan import simulated_orchestrator

pytestmark = pytest.mark.apiserver

WORKERS: dict[str, Any] = {"parallelism": {"tensor": 1}}
SERVE: dict[str, Any] = {
    "platform": "generic",
    "runtime": {"frontend": "trtllm-serve", "version": "1.4.0rc1"},
    "prefill": WORKERS,
    "decode": WORKERS,
    "verification": {"mode": "Off"},
}


def listed(demo: Deployed) -> dict[str, int]:
    """Return how many decode workers the file of each orchestrator lists, as the SIMULATED one reads it."""
    pods = {pod["metadata"]["name"]: pod for pod in demo.find("pods", "frontend")}
    files = {
        obj["metadata"]["name"]: simulated_orchestrator.read(obj["data"]["orchestrator.yaml"])
        for obj in demo.find("configmaps", "frontend")
    }
    # Of a pod that went meanwhile, the file may have gone as well.
    still = {pod["metadata"]["name"] for pod in demo.find("pods", "frontend")}
    found = {}
    for pod in pods.keys() & still:
        volumes = pods[pod]["spec"]["volumes"]
        (name,) = [volume["configMap"]["name"] for volume in volumes if volume["name"] == "config"]
        assert name in files, "a pod would wait for its file for ever"
        found[pod] = len(files[name].servers["generation_servers"])
    return found


def replicas(demo: Deployed) -> int:
    (decode,) = demo.find("statefulsets", "decode")
    return int(decode["spec"]["replicas"])


def key(demo: Deployed) -> Object:
    return demo.api.get("secrets", demo.namespace, f"{demo.name}-request-key")


def test_lists_follow_scaling_and_no_worker_goes_before_its_orchestrator(demo: Deployed) -> None:
    demo.create(**SERVE)
    demo.wait_for("Available", "ServingRequests")
    assert list(listed(demo).values()) == [1]
    secret = key(demo)
    demo.edit(decode={"replicas": 3})
    eventually(
        lambda: list(listed(demo).values()) == [3],
        "the one orchestrator lists three workers",
        meanwhile=demo.make_ready,
    )
    demo.wait_for("Progressing", "Complete")
    assert replicas(demo) == 3
    eventually(lambda: len(demo.find("configmaps", "frontend")) == 1, "the old list is gone")
    demo.edit(decode={"replicas": 1})
    # The new orchestrator is not ready yet, so that the old one sends requests to all three.
    eventually(lambda: sorted(listed(demo).values()) == [1, 3], "there are two orchestrators")
    assert replicas(demo) == 3

    def gone() -> bool:
        if replicas(demo) == 3:
            return False
        assert list(listed(demo).values()) == [1], "a worker went that an orchestrator still had in its list"
        return True

    eventually(gone, "two workers go", meanwhile=demo.make_ready)
    demo.wait_for("Progressing", "Complete")
    assert (secret["metadata"]["uid"], secret["data"]) == (key(demo)["metadata"]["uid"], key(demo)["data"])


def test_the_key_is_made_with_the_deployment_and_stands_in_no_config_map(demo: Deployed) -> None:
    demo.create(**SERVE)
    eventually(lambda: demo.find("pods", "frontend"), "there is an orchestrator")
    secret = key(demo)
    text = base64.b64decode(secret["data"]["key"]).decode()
    assert len(text) == 64
    assert not any(text in str(obj) for obj in demo.find("configmaps"))
    assert secret["immutable"]
    assert [owner["kind"] for owner in secret["metadata"]["ownerReferences"]] == ["DisaggDeployment"]


def test_a_new_revision_is_recreated_with_a_list_of_its_own(demo: Deployed) -> None:
    demo.create(**SERVE)
    demo.wait_for("Available", "ServingRequests")
    first = demo.status()["revision"]
    demo.edit(runtime={"image": "own.registry/tensorrt-llm:2"})
    eventually(lambda: demo.status().get("updateRevision") not in (None, first), "there is another revision")
    demo.wait_for("Progressing", "Complete")
    (decode,) = demo.find("statefulsets", "decode")
    eventually(lambda: len(demo.find("configmaps", "frontend")) == 1, "the old list is gone")
    (file,) = demo.find("configmaps", "frontend")
    servers = simulated_orchestrator.read(file["data"]["orchestrator.yaml"]).servers["generation_servers"]
    assert [host.split(".")[0] for host, _ in servers] == [f"{decode['metadata']['name']}-0"]
    assert demo.status()["revision"] not in (first, None)
