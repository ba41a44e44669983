"""Things die in the middle: the operator in a rollout, a worker while it serves; in the end all goes."""

import json
import signal
import time

import httpx
import pytest

from e2e.chat import Chat, constant_load
from e2e.cluster_client import KubectlError, Object, eventually
from e2e.deployments import Deployment
from e2e.installation import Installed
from e2e.network import cut_between
from testcluster.errors import ClusterError
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

SIGNAL_ENGINE = """
import os, pathlib, sys
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        if b"serve" in each.read_bytes().split(bytes(1)):
            os.kill(int(each.parent.name), int(sys.argv[1]))
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
    quickstart.wait_complete(300)
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

            def felt() -> None:
                assert cut.dropped() > 0

            # An answer that is being decoded needs the other role no more: it may take its time.
            eventually(felt, 60, every=0.1)
            time.sleep(5)
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
    signal_engine(quickstart, name, signal.SIGKILL)
    quickstart.wait("Available", "False", timeout=90)

    def told() -> None:
        message = quickstart.condition("Available")["message"]
        assert f"Pod {name} keeps ending" in message
        assert "exit code 137" in message

    eventually(told, 30)
    quickstart.wait("Available")

    eventually(lambda: answers(chat), 60)
    goes_on(quickstart, decode)


def test_a_decode_worker_that_hangs_fails_its_requests_soon_and_serves_when_it_goes_on(
    quickstart: Deployment, chat: Chat
) -> None:
    (decode,) = quickstart.pods("decode")
    name = decode["metadata"]["name"]
    signal_engine(quickstart, name, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises((httpx.HTTPStatusError, ClusterError)) as failed:
            chat.ask("Say hello.")
        took = time.monotonic() - began
    finally:
        signal_engine(quickstart, name, signal.SIGCONT)
    print(f"after {took:.1f} s: {failed.value}")
    assert took < 40, "measured: 5 to 13 s"
    eventually(lambda: answers(chat), 60)
    goes_on(quickstart, decode)


def signal_engine(deployment: Deployment, pod: str, number: signal.Signals) -> None:
    """Send a signal to the engine of a worker's pod."""
    deployment.kubectl(
        *("exec", pod, f"--namespace={deployment.namespace}", "--container=worker", "--"),
        *("python3", "-c", SIGNAL_ENGINE, str(int(number))),
    )


def answers(chat: Chat) -> None:
    try:
        assert chat.ask("Say hello.").text
    except (httpx.HTTPError, ClusterError) as error:
        raise AssertionError(f"no answer: {error}") from error


def goes_on(deployment: Deployment, decode: Object) -> None:
    """The decode worker is the one that it was, without a restart."""
    (same,) = deployment.pods("decode")
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
