"""Roles scaled from outside: by hand, to nothing and back, and by a HorizontalPodAutoscaler under load."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.autoscaling.installing import external_metrics
from e2e.chat import Chat
from e2e.cluster_client import Object, eventually
from e2e.deployments import Deployment
from e2e.installation import ROOT, Installed
from testcluster.errors import ClusterError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SCALERS = "disaggscalers.disagg.dev"
LIMIT_SECONDS = 180
FAST_SECONDS = 15
"""Within which a request that nobody can serve is refused: it shall not wait for a time-out."""


def example() -> list[Object]:
    """Return the documents of the example: a deployment of the quickstart's name, and an HPA."""
    (file,) = (ROOT / "examples" / "10-autoscaling").glob("*.yaml")
    return list(yaml.safe_load_all(file.read_text()))


def scaler(deployment: Deployment, role: str) -> Object:
    return deployment.kubectl.get(SCALERS, f"{deployment.name}-{role}", deployment.namespace)


def scale(deployment: Deployment, role: str, replicas: int) -> None:
    """Scale a role as a person does."""
    name = f"disaggscaler/{deployment.name}-{role}"
    deployment.kubectl("scale", name, f"--replicas={replicas}", f"--namespace={deployment.namespace}")


def wait_running(deployment: Deployment, role: str, count: int) -> None:
    """Wait until a role has just so many pods, and its scaler says that all are ready."""

    def check() -> None:
        found = scaler(deployment, role)
        assert "status" in found, "the operator has not looked at it yet"
        conditions = {each["type"]: each for each in found["status"]["conditions"]}
        told = (len(deployment.pods(role)), found["status"]["readyReplicas"], conditions["Ready"]["status"])
        assert told == (count, count, "True"), f"{told}: {conditions['Ready']['message']}"

    eventually(check, LIMIT_SECONDS)


def workers(deployment: Deployment) -> set[str]:
    """Return the uids of the workers that are not ending."""
    return {pod["metadata"]["uid"] for role in ("prefill", "decode") for pod in deployment.pods(role)}


@pytest.fixture(scope="module")
def scaled(quickstart: Deployment) -> Iterator[Deployment]:
    """The quickstart with what the example adds to it; nothing restarts."""
    quickstart.wait_complete(LIMIT_SECONDS)
    before = workers(quickstart)
    quickstart.patch(json.dumps({"spec": {"scaling": example()[0]["spec"]["scaling"]}}))
    for role in ("prefill", "decode"):
        wait_running(quickstart, role, 1)
    assert workers(quickstart) == before
    yield quickstart
    quickstart.patch('{"spec": {"scaling": null}}')

    def gone() -> None:
        assert not quickstart.kubectl.list(SCALERS, quickstart.namespace)

    eventually(gone, LIMIT_SECONDS)
    quickstart.wait_complete(LIMIT_SECONDS)


def refused(chat: Chat) -> str:
    """Return with which words a request is refused at once, or fail."""
    began = time.monotonic()
    try:
        answer = chat.ask("Say hello.", max_tokens=2)
    except httpx.HTTPStatusError as error:
        words = f"{error.response.status_code} {error.response.text}"
    except ClusterError as error:
        words = str(error)
    except httpx.HTTPError as error:
        raise AssertionError(f"broken off, as the last worker or the last frontend left: {error}") from error
    else:
        raise AssertionError(f"it was answered: {answer}")
    assert time.monotonic() - began < FAST_SECONDS, f"only after {time.monotonic() - began:.0f} s: {words}"
    return words


def test_the_scale_of_a_role_is_that_of_a_deployment(scaled: Deployment) -> None:
    path = f"/apis/disagg.dev/v1alpha1/namespaces/{scaled.namespace}/disaggscalers/{scaled.name}-decode/scale"
    scale_of_it = json.loads(scaled.kubectl("get", "--raw", path))
    assert scale_of_it["kind"] == "Scale"
    assert scale_of_it["spec"] == {"replicas": 1}
    assert scale_of_it["status"]["replicas"] == 1
    selected = scaled.kubectl.list("pods", scaled.namespace, scale_of_it["status"]["selector"])
    assert {pod["metadata"]["uid"] for pod in selected} == {
        pod["metadata"]["uid"] for pod in scaled.pods("decode")
    }
    columns = scaled.kubectl("get", "dsc", f"{scaled.name}-decode", f"--namespace={scaled.namespace}")
    assert columns.splitlines()[1].split()[1:8] == [scaled.name, "decode", "1", "1", "1", "0-3", "False"]


def test_a_scaler_that_somebody_breaks_or_deletes_is_put_right(scaled: Deployment) -> None:
    name = f"disaggscaler/{scaled.name}-prefill"
    scaled.kubectl("label", name, f"--namespace={scaled.namespace}", "disagg.dev/deployment-")

    def labelled() -> None:
        labels = scaler(scaled, "prefill")["metadata"]["labels"]
        assert labels.get("disagg.dev/deployment") == scaled.name

    eventually(labelled, LIMIT_SECONDS)
    uid = scaler(scaled, "prefill")["metadata"]["uid"]
    scaled.kubectl("delete", name, f"--namespace={scaled.namespace}")

    def made_again() -> None:
        assert scaler(scaled, "prefill")["metadata"]["uid"] != uid

    eventually(made_again, LIMIT_SECONDS)
    wait_running(scaled, "prefill", 1)


def test_roles_scale_to_nothing_and_back_while_requests_fail_fast(scaled: Deployment, chat: Chat) -> None:
    frontends = {pod["metadata"]["uid"] for pod in scaled.pods("frontend")}
    scale(scaled, "decode", 0)
    wait_running(scaled, "decode", 0)
    available = scaled.wait("Available", "False", timeout=LIMIT_SECONDS)
    assert available["reason"] == "ScaledToZero"
    assert f"kubectl scale disaggscaler {scaled.name}-decode" in available["message"]
    eventually(lambda: refused(chat), LIMIT_SECONDS)
    scale(scaled, "prefill", 0)
    wait_running(scaled, "prefill", 0)
    eventually(lambda: refused(chat), LIMIT_SECONDS)
    scale(scaled, "decode", 1)
    wait_running(scaled, "decode", 1)
    eventually(lambda: refused(chat), LIMIT_SECONDS)
    scale(scaled, "prefill", 1)
    wait_running(scaled, "prefill", 1)
    scaled.wait("Available", timeout=LIMIT_SECONDS)
    eventually(lambda: _answered(chat), LIMIT_SECONDS)
    assert {pod["metadata"]["uid"] for pod in scaled.pods("frontend")} == frontends


def _answered(chat: Chat) -> None:
    try:
        assert chat.ask("Say hello.", max_tokens=2).text
    except (httpx.HTTPError, ClusterError) as error:
        raise AssertionError(f"not yet: {error}") from error


@contextmanager
def requests_in_flight(chat: Chat, number: int) -> Iterator[None]:
    """Keep so many long answers in the making while the block runs."""
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            try:
                chat.ask("Tell me a long story about the sea.", max_tokens=24)
            except (httpx.HTTPError, ClusterError):
                ended.wait(1)  # what a client meets is the other tests' matter

    with ThreadPoolExecutor(number) as clients:
        for _ in range(number):
            clients.submit(ask_on)
        try:
            yield
        finally:
            ended.set()


@pytest.fixture
def autoscaled(scaled: Deployment, installed: Installed, tmp_path: Path) -> Iterator[Deployment]:
    """The example's HPA, made quick, with the frontend's metrics behind it."""
    hpa = example()[1]
    hpa["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 10}}
    with external_metrics(scaled.kubectl, scaled.namespace, installed.images["operator"], tmp_path):
        scaled.kubectl.apply_to(scaled.namespace, hpa)
        yield scaled
        scaled.kubectl("delete", "hpa", hpa["metadata"]["name"], f"--namespace={scaled.namespace}")
        scale(scaled, "decode", 1)
        wait_running(scaled, "decode", 1)


def test_an_autoscaler_follows_the_requests_in_flight(autoscaled: Deployment, chat: Chat) -> None:
    decode = f"{autoscaled.name}-decode"

    def read() -> Object:
        found = autoscaled.kubectl.get("hpa", decode, autoscaled.namespace)
        conditions = {each["type"]: each for each in found["status"].get("conditions", [])}
        active = conditions.get("ScalingActive", {})
        assert active.get("status") == "True", active.get("message", "it has not looked yet")
        return found

    assert eventually(read, LIMIT_SECONDS)["status"]["desiredReplicas"] == 1
    with requests_in_flight(chat, 8):
        wait_running(autoscaled, "decode", 2)
    wait_running(autoscaled, "decode", 1)
