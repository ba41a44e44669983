"""Discovery through an etcd and NATS that the operator runs: they serve, change, fail, are fenced, and go.

The reference engine and the real Dynamo frontend register in etcd; nothing of Kubernetes' discovery is used.
"""

import json
from collections.abc import Iterator, Mapping

import httpx
import pytest
import yaml

from e2e.chat import Chat, Load, constant_load
from e2e.cluster_client import Object, eventually
from e2e.deployments import Deployment
from e2e.installation import OTHER_NAMESPACE, ROOT, Installed, make_namespace
from e2e.strangers import Stranger, listen_too, listening
from testcluster.policies import enforced
from testcluster.services import load_services, volumes
from testcluster.session import Cluster

pytestmark = pytest.mark.cluster

OF_SERVICES = "statefulsets,services,poddisruptionbudgets,persistentvolumeclaims"
ROLLOUT_SECONDS = 300
"""An etcd, two workers and frontends twice, which start while the others serve, on two shared cores."""
SSH_PORT, RANKS_PORT, SYSTEM_PORT, AGENT_PORT = 2222, 9092, 9090, 9095
ANSWERED_AT_LEAST = 10
"""Answers during a change of etcd, without which it would say little that none was refused."""


@pytest.fixture(scope="module")
def services(cluster: Cluster) -> Mapping[str, str]:
    """Images of etcd and NATS that the nodes hold."""
    if cluster.provider == "existing":
        pytest.skip("no image can be loaded into a cluster that already exists")
    return load_services(cluster)


@pytest.fixture(scope="module")
def registry(
    cluster: Cluster, installed: Installed, namespace: str, services: Mapping[str, str]
) -> Iterator[Deployment]:
    """A deployment that registers in an etcd of three members."""
    (example,) = (ROOT / "examples" / "01-quickstart").glob("*.yaml")
    resource = yaml.safe_load(example.read_text())
    resource["metadata"]["name"] = "registry"
    with volumes(cluster, 4) as storage_class:
        storage = {"size": "100Mi", **({"storageClassName": storage_class} if storage_class else {})}
        etcd = {"replicas": 3, "storage": storage, "image": services["etcd"]}
        resource["spec"]["discovery"] = {"backend": "etcd", "etcd": etcd}
        installed.kubectl.apply_to(namespace, resource)
        deployment = Deployment(installed.kubectl, namespace, "registry")
        yield deployment
        deployment.delete()
        eventually(lambda: nothing_left(deployment), 60)


@pytest.fixture(scope="module")
def chat(registry: Deployment, http: httpx.Client) -> Chat:
    registry.wait_complete()
    return Chat(http, registry.namespace, registry.name)


def nothing_left(deployment: Deployment) -> None:
    left = [found["metadata"]["name"] for found in deployment.children(OF_SERVICES)]
    assert not left, f"left behind: {left}"


def ready(deployment: Deployment, kind: str) -> Object:
    """Return the one StatefulSet of a service, with all its members ready."""
    (found, *others) = deployment.children("statefulsets", kind)
    assert not others, f"there is more than one {kind}"
    assert found["status"].get("readyReplicas") == found["spec"]["replicas"], f"{kind} is not ready"
    return found


def lose(deployment: Deployment, pod: str) -> None:
    """End a pod at once, and wait until its successor is ready."""
    (before,) = [each for each in deployment.children("pods") if each["metadata"]["name"] == pod]
    where = f"--namespace={deployment.namespace}"
    deployment.kubectl("delete", "pod", pod, where, "--grace-period=0", "--force")

    def back() -> None:
        after = deployment.kubectl.get("pod", pod, deployment.namespace)
        assert after["metadata"]["uid"] != before["metadata"]["uid"], f"{pod} is still there"
        conditions = {each["type"]: each["status"] for each in after["status"].get("conditions", [])}
        assert conditions.get("Ready") == "True", f"{pod} is not ready again"

    eventually(back, 60)


def asked_on(load: Load) -> None:
    """Wait for three answers more."""
    wanted = load.answered + 3

    def answered() -> None:
        assert load.answered >= wanted, f"answered {load.answered} of {wanted}: {load.failures}"

    eventually(answered, 90)


def restarts(deployment: Deployment) -> dict[str, int]:
    """Return how often the containers of frontend and workers were restarted, by pod."""
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for role in ("prefill", "decode", "frontend")
        for pod in deployment.pods(role)
    }


def test_a_chat_is_answered_by_workers_that_register_in_etcd(registry: Deployment, chat: Chat) -> None:
    assert "Paris" in chat.ask("What is the capital of France?", max_tokens=16).text
    assert ready(registry, "etcd")["spec"]["replicas"] == 3
    assert not registry.workers_known(), "nobody announced itself to the Kubernetes API"
    assert not registry.children("rolebindings"), "nobody may"
    for role in ("prefill", "decode", "frontend"):
        (pod,) = registry.pods(role)
        started = {each["name"]: each for each in pod["status"]["initContainerStatuses"]}
        gate = started["await-services"]
        assert gate["state"]["terminated"]["exitCode"] == 0


def test_requests_are_served_while_a_member_of_etcd_is_lost(registry: Deployment, chat: Chat) -> None:
    with constant_load(chat) as load:
        lose(registry, f"{ready(registry, 'etcd')['metadata']['name']}-0")
        asked_on(load)
    assert not load.failures
    assert set(restarts(registry).values()) == {0}


@pytest.mark.timeout(900)
def test_workers_roll_over_to_another_etcd_and_to_nats(
    registry: Deployment, chat: Chat, http: httpx.Client, services: Mapping[str, str]
) -> None:
    old = ready(registry, "etcd")["metadata"]["name"]
    with constant_load(chat) as load:
        change = {"etcd": {"replicas": 1}, "nats": {"managed": True, "image": services["nats"]}}
        registry.patch(json.dumps({"spec": {"discovery": change}}))
        registry.wait_complete(ROLLOUT_SECONDS)
        eventually(lambda: ready(registry, "etcd"), 90)
        assert load.answered >= ANSWERED_AT_LEAST
        asked_on(load)
    assert not load.failures
    assert ready(registry, "etcd")["metadata"]["name"] != old

    nats = ready(registry, "nats")["metadata"]["name"]
    path = f"/api/v1/namespaces/{registry.namespace}/pods/{nats}-0:8222/proxy/varz"
    before = http.get(path).raise_for_status().json()
    assert chat.ask("Say hello.").text
    after = http.get(path).raise_for_status().json()
    assert after["connections"] >= 3, "two workers and a frontend"
    assert after["in_msgs"] > before["in_msgs"], "the request went through NATS"


def test_requests_are_served_while_the_only_etcd_is_away(registry: Deployment, chat: Chat) -> None:
    with constant_load(chat) as load:
        lose(registry, f"{ready(registry, 'etcd')['metadata']['name']}-0")
        asked_on(load)
    assert not load.failures
    registry.wait_complete()
    assert set(restarts(registry).values()) == {0}


@pytest.fixture
def strangers(cluster: Cluster, registry: Deployment) -> Iterator[list[Stranger]]:
    """A pod beside the deployment, and one elsewhere that bears its label."""
    other = make_namespace(registry.kubectl, OTHER_NAMESPACE)
    label = {"disagg.dev/deployment": registry.name}
    found = {
        Stranger(registry.kubectl, registry.namespace, "stranger"): {"app": "stranger"},
        Stranger(registry.kubectl, other, "stranger"): label,
    }
    for stranger, labels in found.items():
        stranger.start(cluster.images["worker"], labels)
    yield list(found)
    for stranger in found:
        stranger.end()


def insides(deployment: Deployment) -> set[str]:
    """Return all places of a deployment where it listens, but the frontend's."""
    kubectl, namespace = deployment.kubectl, deployment.namespace
    found = set()
    for role in ("prefill", "decode"):
        (pod,) = deployment.pods(role)
        name, address = pod["metadata"]["name"], pod["status"]["podIP"]
        # No worker here has ranks, so what would listen for them is simulated.
        listen_too(kubectl, namespace, name, "worker", [SSH_PORT, RANKS_PORT])
        ports = listening(kubectl, namespace, name, "worker")
        assert {SSH_PORT, RANKS_PORT, SYSTEM_PORT, AGENT_PORT} < ports, "KV transfer has ports of its own"
        found |= {f"{address}:{port}" for port in ports}
    for service, ports in (("etcd", {2379, 2380}), ("nats", {4222, 8222})):
        found |= {f"{pod['status']['podIP']}:{port}" for pod in deployment.pods(service) for port in ports}
    return found


@pytest.mark.timeout(900)
def test_strangers_reach_nothing_but_the_frontend_while_kv_cache_moves(
    cluster: Cluster, registry: Deployment, chat: Chat, strangers: list[Stranger]
) -> None:
    answer = chat.ask("Name three colours.", max_tokens=12).text
    door = {f"{pod['status']['podIP']}:8000" for pod in registry.pods("frontend")}
    places = insides(registry)

    def reach(wanted: set[str]) -> None:
        def check() -> None:
            for stranger in strangers:
                found = stranger.reached(places | door)
                assert found == wanted, f"{stranger} reaches {found - wanted}, and not {wanted - found}"

        eventually(check, 180)

    with enforced(cluster):
        reach(door)
        assert chat.ask("Name three colours.", max_tokens=12).text == answer
        registry.patch('{"metadata": {"annotations": {"disagg.dev/verify": "fenced"}}}')

        def measured() -> None:
            transport = registry.read()["status"]["transport"]
            assert transport.get("request") == "fenced", f"not measured yet: {transport.get('step')}"
            assert transport["verified"] == "True", "the operator reaches agents, and decode prefill"

        eventually(measured, 240)
        registry.patch(
            json.dumps(
                {"spec": {"network": {"clients": [{"podSelector": {"matchLabels": {"app": "client"}}}]}}}
            )
        )
        reach(set())
        assert chat.ask("Name three colours.", max_tokens=12).text == answer
        registry.patch(json.dumps({"spec": {"network": {"clients": None, "policy": "None"}}}))
        reach(places | door)
    assert set(restarts(registry).values()) == {0}, "no change of the network restarts a pod"
