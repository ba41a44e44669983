"""Things die in the middle: the operator in a rollout, a worker while it serves; in the end all goes."""

import json
import time

import httpx
import pytest

from e2e.chat import Chat, constant_load
from e2e.cluster_client import KubectlError, eventually
from e2e.deployments import Deployment
from e2e.installation import Installed
from e2e.network import cut_between
from testcluster.errors import ClusterError
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

KILL_ENGINE = """
import os, pathlib
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        if b"serve" in each.read_bytes().split(bytes(1)):
            os.kill(int(each.parent.name), 9)
    except OSError:
        pass
"""


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


def test_a_cut_of_five_seconds_between_the_roles_loses_no_request(
    cluster: Cluster, quickstart: Deployment, chat: Chat
) -> None:
    if cluster.provider != "local":
        pytest.skip("the network is cut on this machine, which has the pods only with the embedded cluster")
    (prefill,), (decode,) = quickstart.pods("prefill"), quickstart.pods("decode")
    with constant_load(chat) as load:

        def answered(more_than: int) -> None:
            assert load.answered > more_than, load.failures

        eventually(lambda: answered(0), 60)
        with cut_between(prefill["status"]["podIP"], decode["status"]["podIP"]) as cut:
            time.sleep(5)
            assert cut.dropped() > 0
        before = load.answered
        eventually(lambda: answered(before + 2), 90)
    assert load.failures == []
    assert [pod["metadata"]["uid"] for pod in (*quickstart.pods("prefill"), *quickstart.pods("decode"))] == [
        pod["metadata"]["uid"] for pod in (prefill, decode)
    ]


def test_a_prefill_worker_that_is_killed_is_told_and_decode_goes_on(
    quickstart: Deployment, chat: Chat
) -> None:
    (prefill,), (decode,) = quickstart.pods("prefill"), quickstart.pods("decode")
    name = prefill["metadata"]["name"]
    quickstart.kubectl(
        *("exec", name, f"--namespace={quickstart.namespace}", "--container=worker", "--"),
        *("python3", "-c", KILL_ENGINE),
    )
    quickstart.wait("Available", "False", timeout=90)

    def told() -> None:
        message = quickstart.condition("Available")["message"]
        assert f"Pod {name} keeps ending" in message
        assert "exit code 137" in message

    eventually(told, 30)
    quickstart.wait("Available")

    def answers() -> None:
        try:
            assert chat.ask("Say hello.").text
        except (httpx.HTTPError, ClusterError) as error:
            raise AssertionError(f"no answer: {error}") from error

    eventually(answers, 60)
    (same,) = quickstart.pods("decode")
    assert same["metadata"]["uid"] == decode["metadata"]["uid"]
    assert not any(container["restartCount"] for container in same["status"]["containerStatuses"])


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
