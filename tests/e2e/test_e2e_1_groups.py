"""The reference engine on several nodes, on the whole cluster: the same answers, proven, and started anew.

The cluster has one node, so the rule that pods of a group are on different ones is taken away.
"""

import json
from collections.abc import Iterator

import pytest

from disagg_operator.reconcile.groups.restarts import RESTARTED_AT
from e2e.chat import Chat
from e2e.cluster_client import Object, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import Installed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

QUESTIONS = ("Say hello.", "Name three colours of the rainbow, and tell what each of them is like.")
ON_TWO_NODES: Object = {
    "nodesPerReplica": 2,
    "podTemplate": {"spec": {"affinity": {"$patch": "delete"}}},
}
# The images have no shell and no kill.
KILL_THE_ENGINE = """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"serve" in (process / "cmdline").read_bytes().split(b"\\0"):
        os.kill(int(process.name), 9)
"""


@pytest.fixture(scope="module")
def pipeline(installed: Installed, namespace: str, quickstart: Deployment) -> Iterator[Deployment]:
    """A deployment of which both roles share the layers of the model over two pods.

    The operator's own request is over by then: it takes what it measures beside others' for background.
    """
    assert quickstart.name  # its own start is over by now
    deployment = Deployment(installed.kubectl, namespace, "pipeline")
    installed.kubectl.apply_to(namespace, spec("pipeline", prefill=ON_TWO_NODES, decode=ON_TWO_NODES))
    deployment.wait_complete(400)
    deployment.wait("TransportVerified", timeout=300)
    yield deployment
    deployment.delete()


def answers(chat: Chat) -> list[str]:
    return [chat.ask(question, max_tokens=12).text for question in QUESTIONS]


def test_two_nodes_answer_as_one_does(pipeline: Deployment, chat: Chat) -> None:
    assert len(pipeline.pods("prefill")) == len(pipeline.pods("decode")) == 2
    assert answers(Chat(chat.http, pipeline.namespace, pipeline.name)) == answers(chat)


def test_the_transport_of_all_ranks_together_is_proven(pipeline: Deployment) -> None:
    condition = pipeline.condition("TransportVerified")
    assert condition["status"] == "True"
    transport = pipeline.read()["status"]["transport"]
    assert transport["observed"] == "NIXL/UCX tcp", condition["message"]
    assert transport["bytes"] == pytest.approx(transport["expectedBytes"], rel=0.1)


def test_a_killed_follower_restarts_its_group_which_serves_again(pipeline: Deployment, chat: Chat) -> None:
    own = Chat(chat.http, pipeline.namespace, pipeline.name)
    before = answers(own)
    pods = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pipeline.pods("decode")}
    follower = next(name for name in pods if name.endswith("-1"))
    where = (follower, f"--namespace={pipeline.namespace}", "--container=worker")
    pipeline.kubectl("exec", *where, "--", "python3", "-c", KILL_THE_ENGINE)

    def replaced() -> None:
        now = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pipeline.pods("decode")}
        assert now.keys() == pods.keys()
        assert not set(now.values()) & set(pods.values()), "all pods of the group are new"

    eventually(replaced, 200)
    pipeline.wait_complete(400)

    def serves_again() -> None:
        assert answers(own) == before

    eventually(serves_again, 100)
    (group,) = (
        found
        for found in pipeline.children("statefulsets", "decode")
        if "disagg.dev/group" in found["metadata"]["labels"]
    )
    assert RESTARTED_AT in group["metadata"]["annotations"], json.dumps(group["metadata"])
