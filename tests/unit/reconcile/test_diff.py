"""Which objects are written, and which are deleted."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import must_apply, stamp, to_prune
from disagg_operator.reconcile.kinds import Object

DESIRED: Object = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "a", "namespace": "ns", "labels": {"l": "1"}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "worker",
                        "env": [{"name": "EMPTY", "value": ""}, {"name": "X", "value": "1"}],
                        "resources": {"limits": {"memory": "1024Mi", "cpu": "500m"}},
                        "volumeMounts": [
                            {"name": "v", "mountPath": "/one"},
                            {"name": "v", "mountPath": "/two"},
                        ],
                    }
                ],
                "tolerations": [{"operator": "Exists"}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            }
        },
    },
}


def live() -> Object:
    """Return the object as an API server shows it: defaulted, respelled, with fields of others."""
    found = copy.deepcopy(stamp(DESIRED))
    found["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "annotations": found["metadata"]["annotations"] | {"x": "y"},
    }
    pod = found["spec"]["template"]["spec"]
    pod["dnsPolicy"] = "ClusterFirst"
    pod["containers"].insert(0, {"name": "injected"})
    worker = pod["containers"][1]
    worker["resources"]["limits"] = {"memory": "1Gi", "cpu": "0.5"}
    worker["env"] = [{"name": "EMPTY"}, {"name": "X", "value": "1"}, {"name": "OTHER", "value": "z"}]
    return found


def worker_of(obj: Object) -> Object:
    found: Object = obj["spec"]["template"]["spec"]["containers"][1]
    return found


def test_nothing_is_written_for_what_is_there() -> None:
    assert not must_apply(stamp(DESIRED), live())


def test_what_is_missing_is_written() -> None:
    assert must_apply(stamp(DESIRED), None)


def test_another_content_is_written() -> None:
    changed = copy.deepcopy(DESIRED)
    del changed["spec"]["template"]["spec"]["tolerations"]
    assert must_apply(stamp(changed), live()), "a field that is no longer desired shows in the hash alone"


def drift_replicas(obj: Object) -> None:
    obj["spec"]["replicas"] = 5


def drift_label(obj: Object) -> None:
    del obj["metadata"]["labels"]["l"]


def drift_env(obj: Object) -> None:
    worker_of(obj)["env"][1]["value"] = "2"


def drift_env_removed(obj: Object) -> None:
    worker_of(obj)["env"].pop(1)


def drift_memory(obj: Object) -> None:
    worker_of(obj)["resources"]["limits"]["memory"] = "2Gi"


def drift_mount(obj: Object) -> None:
    worker_of(obj)["volumeMounts"][1]["name"] = "w"


def drift_toleration(obj: Object) -> None:
    obj["spec"]["template"]["spec"]["tolerations"].append({"operator": "Exists", "effect": "NoExecute"})


def drift_hash(obj: Object) -> None:
    obj["metadata"]["annotations"][names.ANNOTATION_APPLIED_HASH] = "0"


@pytest.mark.parametrize(
    "drift",
    [
        drift_replicas,
        drift_label,
        drift_env,
        drift_env_removed,
        drift_memory,
        drift_mount,
        drift_toleration,
        drift_hash,
    ],
)
def test_drift_is_written(drift: Any) -> None:
    there = live()
    drift(there)
    assert must_apply(stamp(DESIRED), there)


def test_the_hash_is_of_the_content() -> None:
    reordered = dict(reversed(list(copy.deepcopy(DESIRED).items())))
    assert stamp(DESIRED) == stamp(reordered)
    assert "annotations" not in DESIRED["metadata"], "the argument is left alone"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_an_object_contains_itself(spec: dict[str, Any]) -> None:
    obj = stamp({"kind": "K", "metadata": {"name": "a"}, "spec": spec})
    assert not must_apply(obj, copy.deepcopy(obj))


def child(name: str, revision: str | None = None, owner: str = "me", **metadata: Any) -> Object:
    labels = {} if revision is None else {names.LABEL_REVISION: revision}
    reference = {"uid": owner, "controller": True}
    return {
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [reference], **metadata},
    }


def pruned(objects: list[Object], kept: frozenset[str | None] = frozenset()) -> list[str]:
    return [obj["metadata"]["name"] for obj in to_prune(objects, [child("wanted", "new")], "me", kept)]


def test_what_is_left_over_goes() -> None:
    objects = [child("wanted", "new"), child("old", "old"), child("shared")]
    assert pruned(objects) == ["old", "shared"]


def test_what_a_kept_revision_needs_stays() -> None:
    objects = [child("a", "A"), child("b", "B"), child("shared")]
    assert pruned(objects, frozenset({"A", None})) == ["b"]


def test_what_another_owns_or_is_going_already_stays() -> None:
    ending = child("ending", "old", deletionTimestamp="now")
    assert pruned([child("theirs", "old", owner="you"), ending]) == []
