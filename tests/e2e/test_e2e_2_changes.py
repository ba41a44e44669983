"""A running deployment is changed: scaled, edited well and badly, paused, and given a neighbour."""

import json

import httpx
import pytest

from e2e.chat import Chat, constant_load
from e2e.cluster_client import KubectlError, Object, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import Installed
from e2e.plugin import disagg
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
STEPS_SECONDS = 300
"""A rollout's steps, in which two workers or a frontend start while others serve, on two shared cores."""
LACKING = "disagg.dev/no-such-node"
"""Label that no node has at first."""
NOWHERE = {"spec": {"nodeSelector": {LACKING: "true"}}}


def worker_names(deployment: Deployment) -> set[str]:
    """Return the names of the deployment's StatefulSets."""
    return {found["metadata"]["name"] for found in deployment.children("statefulsets")}


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_role_scales_up_and_down_without_restarting_the_others(
    quickstart: Deployment, chat: Chat, role: str
) -> None:
    before = {pod["metadata"]["uid"] for pod in quickstart.children("pods")}
    quickstart.patch(json.dumps({"spec": {role: {"replicas": 2}}}))
    quickstart.wait_complete()
    assert len(quickstart.pods(role)) == 2
    assert before <= {pod["metadata"]["uid"] for pod in quickstart.children("pods")}
    assert chat.ask("Say hello.").text
    quickstart.patch(json.dumps({"spec": {role: {"replicas": 1}}}))
    quickstart.wait_complete()

    def back() -> None:
        assert {pod["metadata"]["uid"] for pod in quickstart.children("pods")} == before

    eventually(back, 60)
    assert chat.ask("Say hello.").text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"decode": {"replicas": -1}}, "spec.decode.replicas"),
        ({"decode": {"replica": 1}}, 'unknown field "spec.decode.replica"'),
        ({"platform": "Local Machine"}, "spec.platform"),
        ({"transfer": {"method": "NIXEL"}}, "spec.transfer.method"),
    ],
)
def test_kubectl_refuses_a_wrong_resource_with_the_fields_name(
    installed: Installed, namespace: str, wrong: dict[str, object], words: str
) -> None:
    with pytest.raises(KubectlError) as refused:
        installed.kubectl.apply_to(namespace, spec("wrong", **wrong))
    assert words in str(refused.value)


def test_a_resource_that_only_the_operator_can_refuse_says_why(installed: Installed, namespace: str) -> None:
    installed.kubectl.apply_to(namespace, spec("refused", platform="no-such-machine"))
    refused = Deployment(installed.kubectl, namespace, "refused")
    condition = refused.wait("Accepted", "False", timeout=60)
    assert "spec.platform" in condition["message"]
    assert "no-such-machine" in condition["message"]
    assert not refused.children()
    refused.delete()


def test_enforcing_a_verified_transport_takes_nothing_down(quickstart: Deployment, chat: Chat) -> None:
    workers = worker_names(quickstart)
    quickstart.patch('{"spec": {"verification": {"mode": "Enforce"}}}')
    quickstart.wait_complete()
    (frontend,) = quickstart.pods("frontend")
    conditions = {each["type"]: each["status"] for each in frontend["status"]["conditions"]}
    assert conditions["disagg.dev/transport-verified"] == conditions["Ready"] == "True"
    assert chat.ask("Say hello.").text
    assert worker_names(quickstart) == workers, "no worker restarts"

    quickstart.patch('{"metadata": {"annotations": {"disagg.dev/verify": "again"}}}')

    def answered() -> None:
        assert quickstart.read()["status"]["transport"].get("request") == "again"

    eventually(answered, 120)
    assert quickstart.wait("TransportVerified")["status"] == "True"
    quickstart.patch('{"spec": {"verification": {"mode": "Warn"}}}')
    quickstart.wait_complete()


def test_a_bad_edit_is_reported_and_leaves_the_deployment_serving(quickstart: Deployment, chat: Chat) -> None:
    before = {found["metadata"]["uid"] for found in quickstart.children()}
    quickstart.patch('{"spec": {"decode": {"engineConfig": {"kv_cache": {"block_tokns": 16}}}}}')
    message = quickstart.wait("Accepted", "False", timeout=60)["message"]
    assert "spec.decode.engineConfig" in message
    assert "block_tokns" in message
    assert quickstart.condition("Available")["status"] == "True"
    assert chat.ask("Say hello.").text
    assert {found["metadata"]["uid"] for found in quickstart.children()} == before
    quickstart.patch('{"spec": {"decode": {"engineConfig": null}}}')
    quickstart.wait("Accepted", timeout=60)
    assert {found["metadata"]["uid"] for found in quickstart.children()} == before


def test_a_paused_deployment_is_left_alone_until_it_goes_on(quickstart: Deployment) -> None:
    quickstart.patch('{"metadata": {"annotations": {"disagg.dev/paused": "true"}}}')

    def paused() -> None:
        assert quickstart.condition("Progressing")["reason"] == "Paused"

    eventually(paused, 60)
    frontend = f"deployment/{quickstart.name}-frontend"
    quickstart.kubectl(
        "label", frontend, f"--namespace={quickstart.namespace}", "disagg.dev/role=mine", "--overwrite"
    )
    quickstart.patch('{"spec": {"frontend": {"replicas": 2}}}')
    eventually(paused, 60)
    (left,) = quickstart.children("deployments")
    assert left["metadata"]["labels"]["disagg.dev/role"] == "mine"
    assert left["spec"]["replicas"] == 1
    quickstart.patch(
        '{"metadata": {"annotations": {"disagg.dev/paused": null}}, "spec": {"frontend": {"replicas": 1}}}'
    )
    quickstart.wait_complete()

    def restored() -> None:
        (found,) = quickstart.children("deployments")
        assert found["metadata"]["labels"]["disagg.dev/role"] == "frontend"

    eventually(restored, 60)


def test_an_account_of_the_users_own_takes_the_place_of_ours(installed: Installed, namespace: str) -> None:
    idle = Deployment(installed.kubectl, namespace, "idle")
    none = {"replicas": 0}
    installed.kubectl.apply_to(namespace, spec(idle.name, prefill=none, decode=none, frontend=none))
    eventually(lambda: _more(len(idle.children("serviceaccounts")), 1), 60)
    idle.patch('{"spec": {"serviceAccountName": "default"}}')
    eventually(lambda: _none(idle.children("serviceaccounts")), 60)

    def bound() -> None:
        (binding,) = idle.children("rolebindings")
        assert [subject["name"] for subject in binding["subjects"]] == ["default"]

    eventually(bound, 60)
    idle.delete()


@pytest.mark.timeout(900)
def test_a_new_revision_takes_over_without_a_failed_request(quickstart: Deployment, chat: Chat) -> None:
    old = worker_names(quickstart)
    first = quickstart.read()["status"]["revision"]
    with constant_load(chat) as load:
        quickstart.patch('{"spec": {"decode": {"engineConfig": {"scheduler": {"max_batch_size": 4}}}}}')

        def beside() -> None:
            assert len(worker_names(quickstart)) == 4

        eventually(beside, 90)
        assert old <= worker_names(quickstart), "the old revision went before the new one was ready"
        quickstart.wait_complete(STEPS_SECONDS)
        counted = load.answered
        eventually(lambda: _more(load.answered, counted + 3), 60)
    assert not load.failures
    assert quickstart.read()["status"]["revision"] != first

    def replaced() -> None:
        assert not worker_names(quickstart) & old

    eventually(replaced, 60)


@pytest.mark.timeout(900)
def test_a_revision_that_never_becomes_ready_is_given_up_and_tried_again_when_asked(
    cluster: Cluster, quickstart: Deployment, chat: Chat
) -> None:
    """What it lacked is a node with a label, which then gets one."""
    quickstart.kubectl("label", "nodes", "--all", f"{LACKING}-")
    before = {pod["metadata"]["uid"] for role in ("prefill", "decode") for pod in quickstart.pods(role)}
    serving = quickstart.read()["status"]["revision"]
    broken = {"podTemplate": NOWHERE}
    quickstart.patch(json.dumps({"spec": {"decode": broken, "rollout": {"progressDeadlineSeconds": 10}}}))

    def given_up() -> None:
        condition = quickstart.condition("Progressing")
        assert condition["reason"] == "ProgressDeadlineExceeded", condition["message"]
        assert len(worker_names(quickstart)) == 2, "the new revision is still there"

    eventually(given_up, STEPS_SECONDS)
    status = quickstart.read()["status"]
    failed = status["updateRevision"]
    assert (status["revision"], status["rollout"]["revision"]) == (serving, failed)
    assert {
        pod["metadata"]["uid"] for role in ("prefill", "decode") for pod in quickstart.pods(role)
    } == before
    assert chat.ask("Say hello.").text
    quickstart.patch('{"spec": {"rollout": {"progressDeadlineSeconds": null}}}')
    quickstart.kubectl("label", "nodes", "--all", f"{LACKING}=true")
    told = disagg(cluster, "rollout", "retry", quickstart.name)
    assert told.stdout == f"revision {failed} of {quickstart.name} is tried again\n", told.stderr
    quickstart.wait_complete(STEPS_SECONDS)
    assert quickstart.read()["status"]["revision"] == failed
    assert chat.ask("Say hello.").text


def _more(number: int, least: int) -> None:
    assert number >= least


def test_deployments_whose_names_begin_alike_do_not_see_each_other(
    installed: Installed, quickstart: Deployment, chat: Chat, http: httpx.Client, namespace: str
) -> None:
    """The operator dies while the neighbour is being made: it comes up all the same."""
    neighbour = Deployment(installed.kubectl, namespace, f"{quickstart.name}-b")
    installed.kubectl.apply_to(namespace, spec(neighbour.name))
    eventually(
        lambda: _more(len(neighbour.children("services,configmaps,serviceaccounts")), 1), 20, every=0.05
    )
    installed.kill_operator()
    neighbour.wait_complete()
    other = Chat(http, namespace, neighbour.name)
    assert other.ask("Say hello.").text
    # Without its own decode worker the neighbour cannot answer, though the first deployment's is there.
    neighbour.patch('{"spec": {"decode": {"replicas": 0}}}')
    eventually(lambda: _none(neighbour.pods("decode")), 60)

    def silent() -> None:
        with pytest.raises(httpx.HTTPError):
            other.ask("Say hello.", max_tokens=2)

    eventually(silent, 90)
    assert chat.ask("Say hello.").text
    neighbour.delete()
    assert chat.ask("Say hello.").text


def _none(found: list[Object]) -> None:
    assert not found
