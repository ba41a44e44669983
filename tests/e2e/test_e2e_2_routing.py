"""The example of KV-aware routing: Dynamo's router, and workers that it finds through the Kubernetes API."""

from collections.abc import Iterator

import httpx
import pytest
import yaml

from e2e.chat import Chat, metrics
from e2e.cluster_client import eventually
from e2e.deployments import Deployment
from e2e.installation import ROOT, Installed

pytestmark = pytest.mark.cluster
EXAMPLE = ROOT / "examples" / "17-kv-router" / "smollm2-kv-router.yaml"
BEGINNING = " ".join(f"Item {number} is worth {number * 37 % 101} coins." for number in range(20))
LEFT_BY_FRONTEND = 'disagg_prompts_local_total{left_by="frontend"}'
LEFT_BY_ANY = "disagg_prompts_local_total"
REUSED = "disagg_prompt_tokens_reused_total"


@pytest.fixture(scope="module")
def routed(installed: Installed, namespace: str) -> Iterator[Deployment]:
    resource = yaml.safe_load(EXAMPLE.read_text())
    installed.kubectl.apply_to(namespace, resource)
    deployment = Deployment(installed.kubectl, namespace, resource["metadata"]["name"])
    deployment.wait_complete()
    yield deployment
    deployment.delete()


@pytest.fixture
def chat(routed: Deployment, http: httpx.Client) -> Chat:
    return Chat(http, routed.namespace, routed.name)


def counted(http: httpx.Client, deployment: Deployment, role: str, sample: str) -> list[float]:
    """Return a counter of each worker of a role."""
    texts = [metrics(http, deployment.namespace, pod["metadata"]["name"]) for pod in deployment.pods(role)]
    return [
        sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(sample))
        for text in texts
    ]


def test_a_prompt_goes_where_its_beginning_is(routed: Deployment, chat: Chat, http: httpx.Client) -> None:
    """Each question is a long one that was not asked before: only its beginning may be found."""
    asked = iter(range(1000))

    def found() -> None:
        rest = " ".join(f"Box {next(asked)} holds {number} of them." for number in range(20))
        chat.ask(f"{BEGINNING} {rest}", max_tokens=2)
        assert max(counted(http, routed, "prefill", REUSED)) > 0

    eventually(found, 180)


def test_what_decode_has_is_not_transferred(routed: Deployment, chat: Chat, http: httpx.Client) -> None:
    def left() -> None:
        chat.ask(BEGINNING, max_tokens=2)
        assert sum(counted(http, routed, "decode", LEFT_BY_FRONTEND)) > 0

    eventually(left, 180)


def test_a_short_prompt_is_not_transferred(routed: Deployment, chat: Chat, http: httpx.Client) -> None:
    """Be it for its length, or because decode has its beginning, the chat template's, from other prompts."""
    before = sum(counted(http, routed, "decode", LEFT_BY_ANY))
    chat.ask("Hi", max_tokens=2)
    assert sum(counted(http, routed, "decode", LEFT_BY_ANY)) == before + 1
