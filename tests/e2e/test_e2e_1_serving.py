"""From nothing to an answer: install, apply the example, ask, and see KV cache go from prefill to decode."""

import re

import httpx
import pytest

from chart.helm import RELEASE
from e2e.chat import Chat, metrics
from e2e.deployments import WORKER_METADATA, Deployment
from e2e.installation import SYSTEM, Installed
from testcluster.evidence import Moved, moved_between, read_bytes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

# SmolLM2-135M: 30 layers, keys and values, 3 KV heads, blocks of 16 tokens, 64 numbers of 4 bytes each.
BLOCK_TOKENS = 16
BLOCK_BYTES = 30 * 2 * 3 * BLOCK_TOKENS * 64 * 4


def decode_bytes(http: httpx.Client, deployment: Deployment) -> Moved:
    """Return the bytes that the decode workers have read so far, by backend and transport."""
    pods = [pod["metadata"]["name"] for pod in deployment.pods("decode")]
    return read_bytes(metrics(http, deployment.namespace, pod) for pod in pods)


def test_the_chart_tests_itself(installed: Installed) -> None:
    assert "Succeeded" in installed.helm("test", RELEASE, "--namespace", SYSTEM)


def test_the_example_becomes_ready(quickstart: Deployment) -> None:
    line = quickstart.kubectl(
        "get", "dd", quickstart.name, f"--namespace={quickstart.namespace}"
    ).splitlines()[1]
    assert re.search(r"\b1/1\s+1/1\s+NIXL/UCX tcp\s+True\s+True\b", line), line
    assert quickstart.read()["status"]["address"] == (
        f"http://{quickstart.name}-frontend.{quickstart.namespace}.svc:8000"
    )


def test_the_operator_measured_that_kv_cache_goes_over_tcp(quickstart: Deployment) -> None:
    transport = quickstart.read()["status"]["transport"]
    assert transport["observed"] == "NIXL/UCX tcp"
    assert transport["verifiedRevision"] == quickstart.read()["status"]["revision"]
    # Whole blocks of 16 tokens move, which a prompt of some 500 tokens may exceed by 3 %.
    assert transport["expectedBytes"] == pytest.approx(transport["bytes"], rel=0.04)


def test_every_worker_has_an_agent_and_nobody_restarts(quickstart: Deployment) -> None:
    for pod in [*quickstart.pods("prefill"), *quickstart.pods("decode")]:
        agent = pod["status"]["initContainerStatuses"][-1]
        assert (agent["name"], agent["started"], agent["restartCount"]) == ("transport-agent", True, 0)


def test_the_cluster_was_found_to_have_all_that_the_example_needs(quickstart: Deployment) -> None:
    condition = quickstart.condition("PlatformReady")
    assert (condition["status"], condition["reason"]) == ("True", "PlatformReady"), condition["message"]


def test_pods_use_no_privilege_and_no_other_account(quickstart: Deployment) -> None:
    accounts = {pod["spec"]["serviceAccountName"] for pod in quickstart.children("pods")}
    assert accounts == {f"{quickstart.name}-worker"}
    assert len(quickstart.children("pods")) == 3


def test_a_question_is_answered_with_a_sentence_word_by_word(chat: Chat) -> None:
    answer = chat.ask("What is the capital of France?", max_tokens=16)
    assert "Paris" in answer.text
    assert answer.chunks > 3


def test_the_kv_cache_of_the_prompt_goes_through_nixl(
    chat: Chat, http: httpx.Client, quickstart: Deployment
) -> None:
    before = decode_bytes(http, quickstart)
    answer = chat.ask("Tell me about " + ", ".join(["rivers", "mountains", "forests", "seas"] * 12))
    moved = moved_between(before, decode_bytes(http, quickstart))
    blocks = -(-answer.prompt_tokens // BLOCK_TOKENS)
    assert blocks > 3
    assert sum(moved.values()) == blocks * BLOCK_BYTES
    ((backend, transport),) = moved
    assert backend == "UCX"
    assert transport.startswith("tcp/")


def test_workers_announced_themselves_and_belong_to_their_pods(quickstart: Deployment) -> None:
    pods = {pod["metadata"]["uid"] for role in ("prefill", "decode") for pod in quickstart.pods(role)}
    found = quickstart.kubectl.list(WORKER_METADATA, quickstart.namespace)
    owners = {metadata["metadata"]["ownerReferences"][0]["uid"] for metadata in found}
    assert pods == owners
