"""Scalers on a real API server: their scale, the real StatefulSet controller, and an operator process."""

from typing import Any

import pytest

from integration.operator.control_plane import Deployed, Object, eventually

pytestmark = pytest.mark.apiserver

BOUNDS: dict[str, Any] = {"decode": {"minReplicas": 0, "maxReplicas": 4}}


def scaler(demo: Deployed, part: str = "") -> Object:
    """Return decode's scaler, or its scale."""
    answer = demo.api.http.get(demo.api.path("disaggscalers", demo.namespace, f"{demo.name}-decode") + part)
    return dict(answer.json()) if answer.is_success else {}


def scale(demo: Deployed, replicas: int) -> None:
    """Scale decode as kubectl scale, HPA and KEDA do."""
    patch = {"spec": {"replicas": replicas}}
    demo.api.patch("disaggscalers", demo.namespace, f"{demo.name}-decode", patch, "/scale")


def wait_ready(demo: Deployed, count: int) -> None:
    """Wait until decode has just so many instances that are ready, and its scaler says so."""

    def ready() -> bool:
        status = scaler(demo).get("status", {})
        counts = [status.get(key) for key in ("replicas", "readyReplicas", "desiredReplicas")]
        return counts == [count] * 3 and demo.status()["roles"]["decode"]["ready"] == f"{count}/{count}"

    eventually(ready, f"{count} decode instances are ready", meanwhile=demo.make_ready)


def test_a_role_follows_the_scale_of_its_scaler_and_no_edit_fights_it(demo: Deployed) -> None:
    demo.create(scaling=BOUNDS, decode={"replicas": 2})
    wait_ready(demo, 2)
    pods = {pod["metadata"]["uid"] for pod in demo.find("pods")}
    scale(demo, 3)
    wait_ready(demo, 3)
    assert pods < {pod["metadata"]["uid"] for pod in demo.find("pods")}
    demo.edit(decode={"replicas": 1}, prefill={"replicas": 2})
    demo.wait_for("Progressing", "Complete")
    eventually(lambda: len(demo.find("pods", "prefill")) == 2, "the role without a scaler follows the edit")
    assert scaler(demo, "/scale")["spec"] == {"replicas": 3}
    wait_ready(demo, 3)
    selector = scaler(demo, "/scale")["status"]["selector"]
    selected = demo.api.find("pods", demo.namespace, selector)
    assert {pod["metadata"]["uid"] for pod in selected} == {
        pod["metadata"]["uid"] for pod in demo.find("pods", "decode")
    }


def test_scaling_to_nothing_and_back(demo: Deployed) -> None:
    demo.create(scaling=BOUNDS)
    wait_ready(demo, 1)
    scale(demo, 0)
    wait_ready(demo, 0)
    demo.wait_for("Available", "ScaledToZero")
    eventually(lambda: not demo.find("pods", "decode"), "no decode pod is left")
    scale(demo, 1)
    wait_ready(demo, 1)
    demo.wait_for("Available", "ServingRequests")


def test_scaling_while_a_new_revision_takes_over_converges(demo: Deployed) -> None:
    demo.create(scaling=BOUNDS)
    wait_ready(demo, 1)
    first = demo.status()["revision"]
    demo.edit(runtime={"image": "disagg.local/worker:two"})
    demo.wait_for("Progressing", "RolloutInProgress", unless="-decode-")
    second = demo.status()["updateRevision"]
    scale(demo, 3)
    demo.wait_for("Progressing", "Complete")
    wait_ready(demo, 3)
    assert first != demo.status()["revision"] == second, "a count is no part of a revision"


def test_what_is_done_to_a_scaler_by_hand_is_put_right_with_the_count_in_force(demo: Deployed) -> None:
    demo.create(scaling=BOUNDS)
    wait_ready(demo, 1)
    scale(demo, 2)
    wait_ready(demo, 2)
    name = f"{demo.name}-decode"
    demo.api.patch("disaggscalers", demo.namespace, name, {"metadata": {"labels": None}})
    eventually(lambda: "labels" in scaler(demo)["metadata"], "it has its labels again")
    uid = scaler(demo)["metadata"]["uid"]
    demo.api.delete("disaggscalers", demo.namespace, name)
    eventually(lambda: scaler(demo).get("metadata", {}).get("uid", uid) != uid, "it is made again")
    assert scaler(demo)["spec"] == {"replicas": 2}
    demo.edit(scaling=None)
    eventually(lambda: not scaler(demo), "it goes with spec.scaling")
    eventually(
        lambda: demo.status()["roles"]["decode"]["ready"] == "1/1", "the written replicas are in force again"
    )
