"""The life of a deployment: created, changed, paused, broken, deleted."""

import json

import pytest

from integration.operator.control_plane import Api, Deployed, OperatorProcess, deployment, eventually

pytestmark = pytest.mark.apiserver


APPLIED = ("statefulsets", "deployments", "services", "configmaps")


def versions(demo: Deployed) -> dict[str, str]:
    return {
        f"{resource}/{obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for resource in APPLIED
        for obj in demo.find(resource)
    }


def test_create_makes_everything_and_reports_it(demo: Deployed) -> None:
    demo.create(decode={"replicas": 2})
    eventually(lambda: demo.condition("Available")["reason"] == "RolesNotReady", "the first status")
    children = demo.children()
    assert {resource: len(names) for resource, names in children.items()} == {
        "serviceaccounts": 1,
        "configmaps": 1,
        "services": 2,
        "rolebindings": 1,
        "statefulsets": 2,
        "deployments": 1,
    }
    uid = demo.resource()["metadata"]["uid"]
    decode = next(obj for obj in demo.find("statefulsets") if "-decode-" in obj["metadata"]["name"])
    assert decode["spec"]["replicas"] == 2
    assert decode["metadata"]["ownerReferences"][0]["uid"] == uid
    assert decode["metadata"]["managedFields"][0]["manager"] == "disagg-operator"
    assert decode["spec"]["template"]["spec"]["containers"][0]["image"] == "disagg.local/worker:test"
    demo.wait_for("Progressing", "Complete")
    status = demo.status()
    assert demo.condition("Available")["status"] == "True"
    assert status["roles"]["decode"]["ready"] == "2/2"
    assert (
        status["revision"] == status["updateRevision"] == decode["metadata"]["labels"]["disagg.dev/revision"]
    )
    assert status["transport"]["configured"] == "NIXL/UCX"
    assert status["address"] == f"http://{demo.name}-frontend.{demo.namespace}.svc:8000"

    def reasons() -> set[str]:
        events = demo.api.find("events", demo.namespace)
        return {event["reason"] for event in events if event["regarding"].get("uid") == uid}

    eventually(lambda: "Available" in reasons(), "an Event tells that it is available")


def test_scaling_keeps_the_pods(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    pods = {pod["metadata"]["uid"] for pod in demo.find("pods")}
    demo.edit(decode={"replicas": 3})
    eventually(
        lambda: demo.status()["roles"]["decode"]["ready"] == "3/3",
        "three decode replicas are ready",
        meanwhile=demo.make_ready,
    )
    assert pods < {pod["metadata"]["uid"] for pod in demo.find("pods")}


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": {"image": "disagg.local/worker:two"}},
        {"decode": {"engineConfig": {"scheduler": {"max_batch_size": 3}}}},
    ],
    ids=["image", "engineConfig"],
)
def test_a_change_of_the_workers_rolls_both_roles_over(demo: Deployed, change: dict[str, object]) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    old = demo.children()["statefulsets"]
    revision = demo.status()["revision"]
    demo.edit(**change)
    demo.wait_for("Progressing", "RolloutInProgress", unless="-decode-")
    eventually(lambda: len(demo.children()["statefulsets"]) == 4, "both revisions are there")
    assert demo.condition("Available")["status"] == "True"
    assert demo.status()["revision"] == revision
    demo.wait_for("Progressing", "Complete")
    children = demo.children()
    assert len(children["statefulsets"]) == 2
    assert not set(old) & set(children["statefulsets"])
    assert len(children["configmaps"]) == 1
    assert len(children["services"]) == 2
    assert demo.status()["revision"] != revision


def test_recreate_ends_the_old_pods_first(demo: Deployed) -> None:
    demo.create(rollout={"strategy": "Recreate"})
    demo.wait_for("Progressing", "Complete")
    old = {pod["metadata"]["uid"] for pod in demo.find("pods", "decode")}
    demo.edit(runtime={"image": "disagg.local/worker:two"})

    def both() -> bool:
        there = {
            pod["metadata"]["labels"]["disagg.dev/revision"]
            for pod in [*demo.find("pods", "prefill"), *demo.find("pods", "decode")]
        }
        assert len(there) <= 1, "two revisions at once"
        pods = {pod["metadata"]["uid"] for pod in demo.find("pods", "decode")}
        return bool(pods - old)

    eventually(both, "the new pods are there")
    demo.wait_for("Progressing", "Complete")


def test_a_bad_edit_is_refused_and_changes_nothing(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    before = versions(demo)
    demo.edit(platform="no-such-platform")
    eventually(lambda: demo.condition("Accepted")["status"] == "False", "it is refused")
    accepted = demo.condition("Accepted")
    assert "spec.platform" in accepted["message"]
    assert versions(demo) == before
    assert demo.condition("Available")["status"] == "True"
    demo.edit(platform="local")
    demo.wait_for("Accepted", "Accepted")
    assert versions(demo) == before


def test_a_paused_deployment_is_left_alone(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    pause = {"metadata": {"annotations": {"disagg.dev/paused": "true"}}}
    demo.patch(pause | {"spec": {"decode": {"replicas": 3}}})
    demo.wait_for("Progressing", "Paused")
    decode = demo.find("statefulsets", "decode")
    assert decode[0]["spec"]["replicas"] == 1
    demo.patch({"metadata": {"annotations": {"disagg.dev/paused": None}}})
    eventually(
        lambda: demo.find("statefulsets", "decode")[0]["spec"]["replicas"] == 3,
        "the change is made after all",
    )


def test_what_somebody_else_changed_or_deleted_is_repaired(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    frontend = f"{demo.name}-frontend"
    demo.api.delete("services", demo.namespace, frontend)
    demo.api.patch("deployments", demo.namespace, frontend, {"spec": {"replicas": 5}})
    eventually(lambda: frontend in demo.children()["services"], "the Service is back")
    eventually(
        lambda: demo.api.get("deployments", demo.namespace, frontend)["spec"]["replicas"] == 1,
        "the replicas are as they should be",
    )


def test_why_a_pod_does_not_start_is_said(demo: Deployed) -> None:
    demo.create()
    pods = eventually(lambda: demo.find("pods", "decode"), "there is a decode pod")
    name = pods[0]["metadata"]["name"]
    waiting = {"reason": "ErrImagePull", "message": "no such image: disagg.local/worker:test"}
    status = {
        "containerStatuses": [
            {
                "name": "worker",
                "image": "i",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": waiting},
            }
        ]
    }
    demo.api.patch("pods", demo.namespace, name, {"status": status}, "/status")
    eventually(
        lambda: f"Pod {name} cannot get its image" in demo.condition("Available")["message"],
        "the status names pod and reason",
    )


def test_deleting_leaves_nothing(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    demo.api.delete("disaggdeployments", demo.namespace, demo.name)
    eventually(lambda: not any(demo.children().values()), "everything is gone")
    eventually(lambda: not demo.find("pods"), "all pods are gone")


def test_an_operator_of_some_namespaces_leaves_the_others_alone(
    api: Api, demo: Deployed, operator: OperatorProcess
) -> None:
    api.create("disaggdeployments", "default", deployment("not-watched"))
    try:
        demo.create()
        demo.wait_for("Progressing", "Complete")
        assert "status" not in api.get("disaggdeployments", "default", "not-watched")
    finally:
        api.delete("disaggdeployments", "default", "not-watched")
    assert 'disagg_reconciles_total{result="done"}' in operator.says("/metrics")


@pytest.mark.parametrize("levels", [1_500, 9_900])
def test_a_resource_nested_as_deeply_as_the_api_server_takes_harms_nobody(
    demo: Deployed, operator: OperatorProcess, levels: int
) -> None:
    """Whoever may write one resource must not be able to stop the operator for everybody."""
    path = demo.api.path("disaggdeployments", demo.namespace)
    name = f"{demo.name}-deep"
    # Written and read as text: this process cannot parse it either.
    text = json.dumps(deployment(name, prefill={"podTemplate": {"spec": {"x": "HERE"}}}))
    nested = text.replace('"HERE"', '{"x":' * levels + "{}" + "}" * levels)
    demo.api.http.post(path, content=nested, headers={"Content-Type": "application/json"}).raise_for_status()
    try:
        eventually(
            lambda: "nested more than" in demo.api.http.get(f"{path}/{name}").text, "it is refused", 40
        )
        demo.create()
        demo.wait_for("Progressing", "Complete")
        assert operator.process is not None
        assert operator.process.poll() is None
    finally:
        demo.api.http.delete(f"{path}/{name}").raise_for_status()
