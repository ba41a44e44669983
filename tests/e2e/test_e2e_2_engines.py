"""Engines beside the reference engine that run on CPU, behind the real frontend."""

import json
import re

import httpx
import pytest

from e2e.chat import Chat, metrics
from e2e.cluster_client import eventually
from e2e.deployments import Deployment, spec
from e2e.installation import Installed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
SYSTEM_PORT = 9090
FAST = {"engineConfig": {"speedup-ratio": 10}}


def served(http: httpx.Client, deployment: Deployment, role: str) -> int:
    """Return how many requests the workers of a role have served, by Dynamo's own count."""
    texts = (
        metrics(http, deployment.namespace, pod["metadata"]["name"], SYSTEM_PORT)
        for pod in deployment.pods(role)
    )
    counts = re.findall(
        r'^dynamo_component_requests_total\{[^}]*dynamo_endpoint="generate"[^}]*\} (\d+)',
        "\n".join(texts),
        re.MULTILINE,
    )
    return sum(map(int, counts))


def test_dynamos_mocker_serves_by_both_roles_and_nothing_is_called_verified(
    installed: Installed, http: httpx.Client, namespace: str
) -> None:
    mocked = Deployment(installed.kubectl, namespace, "mocked")
    runtime = {"engine": "mocker", "frontend": "dynamo"}
    installed.kubectl.apply_to(namespace, spec(mocked.name, runtime=runtime, prefill=FAST, decode=FAST))
    mocked.wait_complete()
    before = {role: served(http, mocked, role) for role in ("prefill", "decode")}
    answer = Chat(http, namespace, mocked.name).ask("Say hello.", max_tokens=6)
    assert answer.finish_reason == "length"
    assert answer.completion_tokens == 6

    def counted() -> None:
        assert all(served(http, mocked, role) > number for role, number in before.items()), before

    eventually(counted, 60)
    condition = mocked.condition("TransportVerified")
    assert (condition["status"], condition["reason"]) == ("Unknown", "Simulated"), json.dumps(condition)
    assert all(len(pod["spec"]["containers"]) == 1 for pod in mocked.pods("prefill"))
    mocked.delete()
