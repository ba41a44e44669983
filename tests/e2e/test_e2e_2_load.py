"""Under constant load nothing is lost, whatever is done to a deployment: each time 500 requests.

A request counts as lost if it failed, and also if its answer broke off: without a reason for its end, or
with fewer tokens than that reason says.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from disagg_operator.plan.names import LABEL_REVISION
from e2e import quick_model
from e2e.chat import Chat, constant_load
from e2e.cluster_client import eventually
from e2e.deployments import Deployment, spec
from e2e.draining import drain
from e2e.installation import SYSTEM, Installed
from e2e.pairs import served_pairs
from e2e.plugin import disagg
from testcluster.demo import MODEL
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

REQUESTS = 500
CLIENTS = 4
TOKENS = 8
PAUSE = 0.25
LOAD_SECONDS = 500
"""Longest time that what is done in one test, or its requests, may take."""
START_SECONDS = 400


@pytest.fixture(scope="module")
def busy(installed: Installed, namespace: str) -> Iterator[Deployment]:
    """A deployment with two of everything, so that what one loses, the other one serves."""
    model = {"name": MODEL, "source": {"runtimeImage": {"path": quick_model.PATH}}}
    role = {"replicas": 2, "podTemplate": quick_model.pod_template(installed.images["worker"])}
    fields = {"prefill": role, "decode": role, "frontend": {"replicas": 2}, "verification": {"mode": "Off"}}
    installed.kubectl.apply_to(namespace, spec("busy", **{"model": model, **fields}))
    deployment = Deployment(installed.kubectl, namespace, "busy")
    deployment.wait_complete(START_SECONDS)
    yield deployment
    deployment.delete()


@pytest.fixture
def clients(http: httpx.Client, busy: Deployment) -> Chat:
    """Those who ask it."""
    return Chat(http, busy.namespace, busy.name)


def scale(deployment: Deployment, prefill: int, decode: int, frontend: int) -> None:
    counts = {"prefill": prefill, "decode": decode, "frontend": frontend}
    deployment.patch(json.dumps({"spec": {role: {"replicas": count} for role, count in counts.items()}}))
    deployment.wait_complete(LOAD_SECONDS)

    def done() -> None:
        # Pods that are ending count: they still finish their requests.
        there = {role: len(deployment.children("pods", role)) for role in counts}
        assert there == counts

    eventually(done, LOAD_SECONDS)


@contextmanager
def nothing_lost(chat: Chat) -> Iterator[None]:
    """Ask on while the block runs, and until enough was asked; nothing must have been lost."""
    with constant_load(chat, PAUSE, clients=CLIENTS, max_tokens=TOKENS) as load:
        yield

        def enough() -> None:
            assert load.asked >= REQUESTS, f"{load.asked} asked, lost: {load.failures[:5]}"

        eventually(enough, LOAD_SECONDS)
    assert not load.failures, f"{len(load.failures)} of {load.asked} lost: {load.failures[:20]}"


def test_both_roles_scale_down_and_up(busy: Deployment, clients: Chat) -> None:
    with nothing_lost(clients):
        scale(busy, 1, 1, 1)
        scale(busy, 2, 2, 2)


def test_the_operator_is_killed(installed: Installed, clients: Chat) -> None:
    with nothing_lost(clients):
        before = set(installed.operator_pods())
        installed.kill_operator()

        def back() -> None:
            assert set(installed.operator_pods()) - before

        eventually(back, 60)
        ready = ("wait", "--for=condition=Ready", "pod", "--selector=app.kubernetes.io/component=operator")
        installed.kubectl(*ready, f"--namespace={SYSTEM}", "--timeout=120s", timeout=150)


def test_every_pod_is_evicted_as_a_drain_of_its_node_does_it(busy: Deployment, clients: Chat) -> None:
    """`kubectl drain` evicts pods, and waits where a budget says so: of both frontends, for one of them."""
    before = {pod["metadata"]["uid"] for pod in busy.children("pods")}
    with nothing_lost(clients):
        for index in (1, 0):
            drain(busy, f"{busy.selector()},apps.kubernetes.io/pod-index={index}")
            eventually(lambda: settled(busy), LOAD_SECONDS)
        told = drain(busy, busy.selector("frontend"))
        busy.wait_complete(LOAD_SECONDS)
    assert not before & {pod["metadata"]["uid"] for pod in busy.children("pods")}
    assert "violate the pod's disruption budget" in told


def test_a_new_revision_takes_over_in_steps(
    cluster: Cluster, busy: Deployment, clients: Chat, tmp_path: Path
) -> None:
    """Both revisions serve side by side, for longer as the rollout is paused, and never as a mixed pair."""
    first = busy.read()["status"]["revision"]
    changed = {"decode": {"engineConfig": {"scheduler": {"max_batch_size": 4}}}}
    wanted = busy.read()
    wanted["spec"]["decode"] |= changed["decode"]
    file = tmp_path / "changed.json"
    file.write_text(json.dumps({key: wanted[key] for key in ("apiVersion", "kind", "metadata", "spec")}))
    planned = disagg(cluster, "rollout", "plan", "-f", str(file))
    assert f"Surge from {first} to " in planned.stdout, planned.stderr
    with served_pairs(busy, tmp_path) as pairs, nothing_lost(clients):
        busy.patch(json.dumps({"spec": changed}))

        def side_by_side() -> None:
            there = {found["metadata"]["labels"][LABEL_REVISION] for found in busy.children("statefulsets")}
            assert len(there) == 2

        eventually(side_by_side, LOAD_SECONDS)
        assert disagg(cluster, "rollout", "pause", busy.name).returncode == 0
        stopped = disagg(cluster, "rollout", "status", busy.name)
        assert (stopped.returncode, "RolloutPaused" in stopped.stdout) == (1, True), stopped.stderr
        assert disagg(cluster, "rollout", "resume", busy.name).returncode == 0
        followed = disagg(cluster, "rollout", "status", busy.name)
        assert followed.returncode == 0, followed.stderr
    second = busy.read()["status"]["revision"]
    assert second != first
    served = pairs.counted()
    assert served.keys() == {(first, first), (second, second)}, "requests were served by a mixed pair"
    # Should the log of one pod break off, others still tell of most requests.
    assert served.total() >= REQUESTS / 2


def settled(deployment: Deployment) -> None:
    """All workers have been ready for so long that every frontend knows them."""
    assert [len(deployment.pods(role)) for role in ("prefill", "decode")] == [2, 2]
    deployment.wait_complete(LOAD_SECONDS)
    available = [found["status"].get("availableReplicas") for found in deployment.children("statefulsets")]
    assert available == [2, 2]
