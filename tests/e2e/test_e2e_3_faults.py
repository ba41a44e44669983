"""Things die in the middle: the operator in a rollout, a worker while it serves; in the end all goes."""

import json

import pytest

from e2e.chat import Chat
from e2e.cluster_client import KubectlError, eventually
from e2e.deployments import Deployment
from e2e.installation import Installed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_a_rollout_converges_though_the_operator_is_killed(
    installed: Installed, quickstart: Deployment, chat: Chat
) -> None:
    quickstart.patch(json.dumps({"spec": {"env": [{"name": "E2E_ROUND", "value": "2"}]}}))

    def begun() -> None:
        assert len(quickstart.children("statefulsets")) > 2

    eventually(begun, 90, every=0.05)
    installed.kill_operator()
    quickstart.wait_complete()
    assert len(quickstart.children("statefulsets")) == 2
    assert chat.ask("Say hello.").text


def test_what_somebody_deletes_comes_back(quickstart: Deployment) -> None:
    service = f"{quickstart.name}-frontend"
    before = quickstart.kubectl.get("service", service, quickstart.namespace)["metadata"]["uid"]
    quickstart.kubectl("delete", "service", service, f"--namespace={quickstart.namespace}")

    def back() -> None:
        assert quickstart.kubectl.get("service", service, quickstart.namespace)["metadata"]["uid"] != before

    eventually(back, 60)


def test_a_lost_worker_is_replaced_and_serves_again(quickstart: Deployment, chat: Chat) -> None:
    (pod,) = quickstart.pods("decode")
    name = pod["metadata"]["name"]
    quickstart.kubectl(
        "delete", "pod", name, f"--namespace={quickstart.namespace}", "--grace-period=0", "--force"
    )
    quickstart.wait("Available", "False", timeout=90)
    quickstart.wait_complete()
    assert chat.ask("Say hello.").text


def test_nothing_is_left_after_deletion(quickstart: Deployment) -> None:
    assert quickstart.workers_known()
    quickstart.delete()
    with pytest.raises(KubectlError, match="NotFound"):
        quickstart.read()
