"""What is not the operator's, on a real API server: neither overwritten, nor counted, nor deleted."""

import copy

import pytest

from integration.operator.control_plane import Api, Deployed, Object, eventually

pytestmark = pytest.mark.apiserver

MANAGED = "app.kubernetes.io/managed-by"


def untouched(obj: Object) -> Object:
    """Return an object without what the API server's own controllers write."""
    kept = copy.deepcopy(obj)
    for field in ("status", "kind", "apiVersion"):
        kept.pop(field, None)
    for field in ("managedFields", "resourceVersion"):
        kept["metadata"].pop(field, None)
    return kept


@pytest.mark.parametrize(
    ("resource", "suffix", "content"),
    [
        ("services", "frontend", {"spec": {"ports": [{"port": 9}], "selector": {"app": "theirs"}}}),
        # Of this, nothing would conflict with what the operator applies.
        ("serviceaccounts", "worker", {"automountServiceAccountToken": False}),
    ],
)
def test_a_name_that_is_taken_is_refused_and_used_once_it_is_free(
    api: Api, demo: Deployed, resource: str, suffix: str, content: Object
) -> None:
    name = f"{demo.name}-{suffix}"
    api.create(resource, demo.namespace, {"metadata": {"name": name}, **content})
    theirs = api.get(resource, demo.namespace, name)
    demo.create()
    demo.wait_for("Progressing", "Blocked")
    message = demo.condition("Progressing")["message"]
    assert f" {name}: there is one of this name already" in message
    assert "Delete or rename it, or give the DisaggDeployment another name" in message
    assert untouched(api.get(resource, demo.namespace, name)) == untouched(theirs)
    api.delete(resource, demo.namespace, name)
    demo.wait_for("Progressing", "Complete")
    (owner,) = api.get(resource, demo.namespace, name)["metadata"]["ownerReferences"]
    assert owner["uid"] == demo.resource()["metadata"]["uid"]


def test_copies_with_the_operators_labels_are_left_alone(api: Api, demo: Deployed) -> None:
    demo.create()
    demo.wait_for("Progressing", "Complete")
    strangers = {}
    for resource, role in (("statefulsets", "decode"), ("configmaps", "worker"), ("services", "worker")):
        original = demo.find(resource, role)[0]
        metadata = {
            "name": f"copy-of-{original['metadata']['name']}"[:60].rstrip("-"),
            # As of a revision that is wanted no more.
            "labels": {**original["metadata"]["labels"], "disagg.dev/revision": "00000000"},
        }
        body: Object = {key: original[key] for key in ("spec", "data") if key in original}
        if resource == "statefulsets":
            body["spec"]["replicas"] = 0
        if resource == "services":
            body["spec"] = {"ports": [{"port": 9}], "selector": {"app": "theirs"}}
        strangers[resource] = api.create(resource, demo.namespace, {"metadata": metadata, **body})
    (decode,) = demo.find("pods", "decode")
    copied = {"name": f"{demo.name}-debug", "labels": decode["metadata"]["labels"]}
    spec = {"containers": [{"name": "c", "image": "none"}]}
    api.create("pods", demo.namespace, {"metadata": copied, "spec": spec})
    before = demo.status()["roles"]["decode"]
    # A change that is rolled out shows that the operator has looked at all of them.
    demo.edit(decode={"env": [{"name": "ROLLED", "value": "out"}]})
    generation = demo.resource()["metadata"]["generation"]
    eventually(
        lambda: (
            demo.condition("Progressing")["reason"] == "Complete"
            and demo.status().get("observedGeneration") == generation
            and decode["metadata"]["uid"]
            not in {pod["metadata"]["uid"] for pod in demo.find("pods", "decode")}
        ),
        "the change is rolled out",
        meanwhile=lambda: demo.make_ready(unless="-debug"),
    )
    for resource, stranger in strangers.items():
        name = stranger["metadata"]["name"]
        assert untouched(api.get(resource, demo.namespace, name)) == untouched(stranger), resource
    assert api.get("pods", demo.namespace, copied["name"])["metadata"].get("deletionTimestamp") is None
    after = demo.status()["roles"]["decode"]
    assert (after["replicas"], after["ready"]) == (before["replicas"], before["ready"])
