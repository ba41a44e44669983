"""A model of a simulated hub: fetched once, onto a volume or a node, for all workers, which only read it."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e import quick_model
from e2e.chat import Chat
from e2e.cluster_client import Kubectl, Object, eventually
from e2e.deployments import START_SECONDS, Deployment, spec
from e2e.installation import UNPRIVILEGED, Installed, make_namespace
from hub import simulated_hub
from hub.simulated_hub import TOKEN
from testcluster.demo import MODEL
from testcluster.services import volumes
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HUB, REPOSITORY, PORT, CLAIM = "simulated-hub", "acme/quick", 8080, "models"
OF_NODES, NODE_NAMESPACE = "acme/of-nodes", "disagg-e2e-node-cache"
"""The same model under a second name, which each node fetches for itself, and where it is served."""
WORKER = 65532
"""User and group of what fetches."""
ROLES = ("prefill", "decode")
WEIGHTS = "model.gguf"
FETCH_SECONDS = 120
"""From the Job to the files: its pod starts Python and fetches 13 MB."""


def hub_objects(image: str) -> list[Object]:
    """Return the pod of a hub with the quick model, its program and its Service."""
    labels = {"app": HUB}
    repositories = [f"{name}={quick_model.PATH}" for name in (REPOSITORY, OF_NODES)]
    script = {"name": "script", "configMap": {"name": HUB}}
    container = {
        "name": "hub",
        "image": image,
        "command": ["python3", "/script/hub.py", str(PORT), *repositories],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [quick_model.MOUNT, {"name": "script", "mountPath": "/script"}],
    }
    pod = {
        "initContainers": [quick_model.writer(image)],
        "containers": [container],
        "volumes": [quick_model.VOLUME, script],
        "terminationGracePeriodSeconds": 1,
    }
    program = Path(simulated_hub.__file__).read_text()
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": HUB}, "data": {"hub.py": program}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": HUB},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": HUB, "labels": labels}, "spec": pod},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hf"}, "stringData": {"token": TOKEN}},
    ]


def claim(storage_class: str | None) -> Object:
    named = {"storageClassName": storage_class} if storage_class else {}
    wants = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "500Mi"}}, **named}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": wants}


def asked(kubectl: Kubectl, namespace: str) -> list[str]:
    """Return what the hub was asked for."""
    return kubectl("logs", HUB, "--container=hub", f"--namespace={namespace}").splitlines()


def fetched(kubectl: Kubectl, namespace: str, repository: str) -> list[str]:
    """Return each time that the weights of a repository were fetched."""
    found = [line for line in asked(kubectl, namespace) if line.startswith(f"GET /{repository}/")]
    return [line for line in found if WEIGHTS in line]


@pytest.fixture(scope="module")
def hub(cluster: Cluster, installed: Installed, namespace: str) -> Iterator[str]:
    """A hub with one model, and a volume for it; its URL."""
    kubectl = installed.kubectl
    with volumes(cluster, 1) as storage_class:
        made = [*hub_objects(installed.images["worker"]), claim(storage_class)]
        for obj in made:
            kubectl.apply_to(namespace, obj)
        kubectl("wait", "--for=condition=Ready", f"pod/{HUB}", f"--namespace={namespace}", "--timeout=240s")
        yield f"http://{HUB}.{namespace}.svc:{PORT}"
        for obj in reversed(made):
            kubectl("delete", obj["kind"], obj["metadata"]["name"], f"--namespace={namespace}")


@pytest.fixture(scope="module")
def from_hub(hub: str, installed: Installed, namespace: str) -> Iterator[Deployment]:
    """A deployment whose model is fetched from the hub, Available."""
    source = {
        "repository": REPOSITORY,
        "endpoint": hub,
        "cache": {"persistentVolumeClaim": {"claimName": CLAIM, "path": "hub"}},
    }
    resource = spec("from-hub", model={"name": MODEL, "source": {"huggingFace": source}})
    installed.kubectl.apply_to(namespace, resource)
    deployment = Deployment(installed.kubectl, namespace, "from-hub")
    deployment.wait_complete(timeout=START_SECONDS + FETCH_SECONDS)
    yield deployment
    deployment.delete()


def test_a_model_is_fetched_once_and_served_by_all_workers(
    from_hub: Deployment, installed: Installed, namespace: str, http: httpx.Client
) -> None:
    found = from_hub.condition("ModelReady")
    assert (found["status"], found["reason"]) == ("True", "Fetched"), found
    assert "PersistentVolumeClaim models" in found["message"]
    gets = fetched(installed.kubectl, namespace, REPOSITORY)
    assert len(gets) == 1, gets
    assert len(from_hub.pods("prefill")) == len(from_hub.pods("decode")) == 1
    assert Chat(http, namespace, from_hub.name).ask("Say hello.").completion_tokens


def test_another_token_fetches_nothing_and_restarts_nobody(
    from_hub: Deployment, installed: Installed, namespace: str
) -> None:
    before = asked(installed.kubectl, namespace)
    pods = {pod["metadata"]["uid"] for role in ROLES for pod in from_hub.pods(role)}
    (old,) = from_hub.children("jobs")
    token = {"tokenSecretRef": {"name": "hf", "key": "token"}}
    from_hub.patch(json.dumps({"spec": {"model": {"source": {"huggingFace": token}}}}))

    def done() -> None:
        (job,) = from_hub.children("jobs")
        assert job["metadata"]["uid"] != old["metadata"]["uid"], "still the old Job"
        assert job.get("status", {}).get("succeeded") == 1, job.get("status")

    eventually(done, FETCH_SECONDS)
    from_hub.wait_complete()
    assert asked(installed.kubectl, namespace) == before
    assert {pod["metadata"]["uid"] for role in ROLES for pod in from_hub.pods(role)} == pods


@pytest.fixture
def folder_of_node(cluster: Cluster) -> Iterator[Path]:
    """A directory of the node, prepared as docs/models.md says."""
    if cluster.provider != "local":
        pytest.skip("this machine is a node only with the embedded cluster")
    folder = Path(f"/var/tmp/disagg-models-{time.monotonic_ns()}")  # noqa: S108 - pods have a /tmp of their own
    folder.mkdir()
    os.chown(folder, WORKER, WORKER)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def of_node(hub: str, installed: Installed, folder_of_node: Path) -> Iterator[Deployment]:
    """A deployment whose node keeps the model, in a namespace that enforces the baseline standard."""
    kubectl = installed.kubectl
    make_namespace(kubectl, NODE_NAMESPACE)
    kubectl(
        *("label", "namespace", NODE_NAMESPACE, "--overwrite"), "pod-security.kubernetes.io/enforce=baseline"
    )
    source = {
        "repository": OF_NODES,
        "endpoint": hub,
        "cache": {"node": {"path": str(folder_of_node)}},
    }
    # Fetching asks for a core in each pod, and the cluster's one node may have no more than two.
    small = {"name": "fetch-model", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}
    role = {"podTemplate": {"spec": {"initContainers": [small]}}}
    resource = spec(
        "of-node",
        model={"name": MODEL, "source": {"huggingFace": source}},
        **dict.fromkeys(ROLES, role),
    )
    kubectl.apply_to(NODE_NAMESPACE, resource)
    deployment = Deployment(kubectl, NODE_NAMESPACE, "of-node")
    yield deployment
    deployment.delete()
    kubectl("delete", "namespace", NODE_NAMESPACE, "--wait=false")


def test_a_node_fetches_a_model_once_for_all_its_workers_where_its_namespace_lets_them(
    of_node: Deployment, installed: Installed, namespace: str, http: httpx.Client, folder_of_node: Path
) -> None:
    refused = of_node.wait("PlatformReady", "False")
    assert refused["reason"] == "PodSecurity"
    assert "hostPath volume model" in refused["message"]
    assert not of_node.children("statefulsets,pods")
    remedy = re.search(r"kubectl (label namespace .*? --overwrite)", refused["message"])
    assert remedy, refused["message"]
    installed.kubectl(*remedy[1].split())
    of_node.wait_complete(timeout=START_SECONDS + FETCH_SECONDS)
    found = of_node.condition("ModelReady")
    assert (found["status"], found["reason"]) == ("True", "Fetched"), found
    assert f"{folder_of_node} of each node" in found["message"]
    pods = [pod for role in ROLES for pod in of_node.pods(role)]
    assert len(pods) == 2
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
    told = [
        installed.kubectl(
            *("logs", pod["metadata"]["name"], "--container=fetch-model", f"--namespace={NODE_NAMESPACE}")
        )
        for pod in pods
    ]
    assert sum("fetching " in log for log in told) == 1, told
    gets = fetched(installed.kubectl, namespace, OF_NODES)
    assert len(gets) == 1, gets
    (weights,) = folder_of_node.glob(f"acme--of-nodes/[!.]*/{WEIGHTS}")
    assert (weights.stat().st_uid, weights.stat().st_gid) == (WORKER, WORKER)
    assert Chat(http, NODE_NAMESPACE, of_node.name).ask("Say hello.").completion_tokens
