"""An upgrade of the operator on a real API server: what the older version planned is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.operator.control_plane import Api, Deployed, Object, OperatorProcess, eventually

pytestmark = pytest.mark.apiserver

NEWER = (str(Path(__file__).with_name("newer_operator.py")),)
SHAPES: dict[str, dict[str, Any]] = {
    "single": {},
    "groups": {
        "platform": "generic",
        "prefill": {"nodesPerReplica": 2},
        "decode": {"replicas": 2, "nodesPerReplica": 2},
    },
    "registered": {"discovery": {"backend": "etcd", "nats": {"managed": True}}},
}


def workloads(deployed: Deployed) -> dict[str, tuple[str, int, Object]]:
    """Return uid, generation and pod template of all that makes pods of a deployment."""
    return {
        obj["metadata"]["name"]: (
            obj["metadata"]["uid"],
            # A Deployment's counts changes of its annotations too.
            obj["metadata"]["generation"] if resource == "statefulsets" else 0,
            obj["spec"]["template"],
        )
        for resource in ("statefulsets", "deployments")
        for obj in deployed.find(resource)
    }


def pods(deployed: Deployed) -> set[str]:
    return {pod["metadata"]["uid"] for pod in deployed.find("pods")}


def test_pods_of_the_older_version_are_kept_until_they_are_asked_for(
    api: Api, namespace: str, new_operator: Callable[..., OperatorProcess]
) -> None:
    older = new_operator("operator-a")
    older.wait_until_leading()
    made = {shape: Deployed(api, namespace, shape) for shape in SHAPES}
    for shape, deployed in made.items():
        deployed.create(**SHAPES[shape], verification={"mode": "Off"})
    for deployed in made.values():
        deployed.wait_for("Progressing", "Complete")
    before = {shape: (workloads(deployed), pods(deployed)) for shape, deployed in made.items()}
    assert older.stop() == 0

    new_operator("operator-b", NEWER).wait_until_leading()
    for deployed in made.values():
        deployed.wait_for("UpToDate", "PlannedByOtherVersion")
        deployed.wait_for("Progressing", "Complete")
    for shape, deployed in made.items():
        assert pods(deployed) == before[shape][1]
        for name, found in workloads(deployed).items():
            assert found == before[shape][0][name]

    made["groups"].edit(decode={"replicas": 3})
    eventually(
        lambda: len(made["groups"].find("statefulsets", "decode")) == 3,
        "there is a third group",
        meanwhile=made["groups"].make_ready,
    )
    assert "DYN_SYSTEM_NEWER" not in str(workloads(made["groups"]))

    single = made["single"]
    single.patch({"metadata": {"annotations": {"disagg.dev/replan": "now"}}})
    eventually(
        lambda: not single.condition("UpToDate")["reason"] and not pods(single) & before["single"][1],
        "all pods are those of the newer version",
        meanwhile=single.make_ready,
    )
    assert str(workloads(single)).count("DYN_SYSTEM_NEWER") >= 3
