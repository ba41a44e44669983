"""What goes wrong with StatefulSets in silence: on a real API server with real controllers, but no node."""

import time

import pytest

from integration.operator.control_plane import Api, Deployed, Object, eventually, writes
from testcluster.fixtures import ApiServer

pytestmark = pytest.mark.apiserver

CONTESTED_SECONDS = 6.0


def repairs(demo: Deployed) -> list[str]:
    """Return what Events say was put right."""
    uid = demo.resource()["metadata"]["uid"]
    return [
        event["note"]
        for event in demo.api.find("events", demo.namespace)
        if event["reason"] == "Repaired" and event["regarding"].get("uid") == uid
    ]


def decode_set(demo: Deployed) -> Object:
    (found,) = demo.find("statefulsets", "decode")
    return found


def test_a_first_specification_that_never_gets_ready_is_mended_by_the_right_one(demo: Deployed) -> None:
    """A StatefulSet of Kubernetes' own defaults stays stuck: kubernetes/kubernetes#67250."""
    demo.create(runtime={"engine": "reference", "image": "disagg.local/worker:wrong"})
    stuck = eventually(lambda: demo.find("statefulsets", "decode"), "there is a StatefulSet")[0]
    revision = stuck["metadata"]["labels"]["disagg.dev/revision"]
    demo.wait_for("Progressing", "RolesNotReady", unless=revision)
    demo.edit(runtime={"image": "disagg.local/worker:right"})
    demo.wait_for("Progressing", "Complete", unless=revision)
    eventually(lambda: len(demo.find("statefulsets", "decode")) == 1, "the stuck one is gone")
    (container, *_) = decode_set(demo)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "disagg.local/worker:right"
    eventually(
        lambda: not demo.api.find("pods", demo.namespace, f"{demo.selector},disagg.dev/revision={revision}"),
        "no pod is left that never got ready",
        meanwhile=demo.make_ready,
    )


def test_amounts_that_the_api_server_respells_are_written_once(apiserver: ApiServer, demo: Deployed) -> None:
    amounts = {"cpu": "1000m", "memory": "0.5Gi", "ephemeral-storage": "1e9"}
    scratch = {"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}
    more = {"name": "more", "image": "disagg.local/worker:test", "resources": {"limits": {"cpu": 2}}}
    template = {"spec": {"volumes": [scratch], "containers": [more]}}
    role = {"resources": {"requests": amounts, "limits": amounts}, "podTemplate": template}
    demo.create(decode=role, prefill={**role, "resources": {"limits": {"cpu": 1, "memory": "1.5Gi"}}})
    demo.wait_for("Progressing", "Complete")
    stored = decode_set(demo)["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (stored["cpu"], stored["memory"]) == ("1", "512Mi")
    since = apiserver.audit_log.stat().st_size
    # The frontend gives one reconcile that is sure to have looked at everything.
    demo.edit(frontend={"replicas": 2})
    demo.wait_for("Progressing", "Complete")
    eventually(lambda: len(demo.find("pods", "frontend")) == 2, "there are two frontends")
    made = writes(apiserver.audit_log, demo.namespace, since)
    assert not [what for what in made if what.split()[1].startswith(("statefulsets", "configmaps"))], made
    assert not repairs(demo)


def test_a_field_that_a_feature_gate_drops_is_told_and_not_written_again(
    apiserver: ApiServer, demo: Deployed
) -> None:
    dropped = {"spec": {"schedulingGroup": {"podGroupName": "mine"}}}
    demo.create(decode={"podTemplate": dropped})
    field = "spec.template.spec.schedulingGroup"
    eventually(
        lambda: f"does not store {field}" in demo.condition("PlatformReady")["message"],
        "the status tells what is not stored",
    )
    assert "schedulingGroup" not in decode_set(demo)["spec"]["template"]["spec"]
    demo.wait_for("Progressing", "Complete")
    since = apiserver.audit_log.stat().st_size
    demo.edit(frontend={"replicas": 2})
    eventually(lambda: len(demo.find("pods", "frontend")) == 2, "there are two frontends")
    demo.wait_for("Progressing", "Complete")
    made = writes(apiserver.audit_log, demo.namespace, since)
    assert not [what for what in made if what.split()[1].startswith("statefulsets")], made


@pytest.mark.parametrize("template", [{"volumeClaimTemplates": []}, {"spec": {"volumeClaimTemplates": []}}])
def test_claim_templates_are_refused_with_what_to_write_instead(demo: Deployed, template: Object) -> None:
    demo.create(decode={"podTemplate": template})
    eventually(lambda: demo.condition("Accepted")["status"] == "False", "it is refused")
    message = demo.condition("Accepted")["message"]
    assert "volumeClaimTemplates" in message
    assert "PersistentVolumeClaim" in message


def test_what_somebody_changed_or_deleted_is_put_right_and_told(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    (config,) = demo.find("configmaps", "worker")
    name, service = decode_set(demo)["metadata"]["name"], f"{demo.name}-frontend"
    key = next(iter(config["data"]))
    demo.api.patch("statefulsets", demo.namespace, name, {"spec": {"replicas": 3}})
    demo.api.patch("configmaps", demo.namespace, config["metadata"]["name"], {"data": {key: "spoiled"}})
    demo.api.delete("services", demo.namespace, service)
    told = {
        f"StatefulSet {name} was changed, and is put right: spec.replicas was 3, not 1",
        f"ConfigMap {config['metadata']['name']} was changed, and is put right: data.{key} was another",
        f"Service {service} was deleted, and is made again",
    }
    eventually(
        lambda: all(any(note.startswith(each) for note in repairs(demo)) for each in told),
        "an Event tells of each",
    )
    assert decode_set(demo)["spec"]["replicas"] == 1
    assert demo.find("configmaps", "worker")[0]["data"] == config["data"]
    assert service in demo.children()["services"]
    demo.wait_for("Progressing", "Complete")


def test_a_stateful_set_that_somebody_deleted_is_made_again_and_told(demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    old = decode_set(demo)["metadata"]
    demo.api.delete("statefulsets", demo.namespace, old["name"])
    eventually(
        lambda: any(f"StatefulSet {old['name']} was deleted" in note for note in repairs(demo)),
        "an Event tells of it",
    )
    eventually(
        lambda: (
            [obj["metadata"]["uid"] != old["uid"] for obj in demo.find("statefulsets", "decode")] == [True]
        ),
        "there is another one",
    )
    demo.wait_for("Progressing", "Complete")


def test_another_controller_that_insists_floods_nobody(
    apiserver: ApiServer, api: Api, demo: Deployed
) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    name = decode_set(demo)["metadata"]["name"]
    since = apiserver.audit_log.stat().st_size
    end, spoilt = time.monotonic() + CONTESTED_SECONDS, 0
    while time.monotonic() < end:
        if decode_set(demo)["spec"]["replicas"] == 1:
            api.patch("statefulsets", demo.namespace, name, {"spec": {"replicas": 2}})
            spoilt += 1
        time.sleep(0.1)
    assert spoilt >= 2
    made = writes(apiserver.audit_log, demo.namespace, since)
    assert made["patch statefulsets/"] <= 4, made
    assert 1 <= len(repairs(demo)) <= 2
    # Left alone at last, it is as it should be.
    eventually(lambda: decode_set(demo)["spec"]["replicas"] == 1, "it is put right in the end")
