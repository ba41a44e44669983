"""Whatever a user writes is accepted, or refused with field, fault and remedy. Nothing else happens."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal

FULL: dict[str, Any] = {
    "apiVersion": "disagg.dev/v1alpha1",
    "kind": "DisaggDeployment",
    "metadata": {"name": "full", "namespace": "team", "labels": {"a": "b"}},
    "spec": {
        "model": {
            "name": "small",
            "source": {"persistentVolumeClaim": {"claimName": "models", "path": "a/b"}},
        },
        "platform": "local",
        "runtime": {"engine": "reference", "version": "1.6.1", "imagePullSecrets": [{"name": "registry"}]},
        "transfer": {"method": "NIXL", "nixlBackend": "UCX", "timeoutSeconds": 5},
        "prefill": {
            "replicas": 2,
            "parallelism": {"tensor": 1},
            "engineConfig": {"kv_cache": {"memory_mib": 5}},
            "env": [{"name": "A", "value": "b"}],
            "devices": {},
            "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "2"}},
            "podTemplate": {
                "metadata": {"labels": {"team": "search"}},
                "spec": {
                    "containers": [{"name": "worker", "env": [{"name": "B", "value": "c"}]}],
                    "volumes": [{"name": "scratch", "emptyDir": {}}],
                },
            },
        },
        "frontend": {"port": 8000, "routerMode": "random"},
        "discovery": {
            "backend": "etcd",
            "etcd": {"replicas": 3, "storage": {"size": "1Gi", "storageClassName": "fast"}},
            "nats": {"managed": True, "image": "a/nats:1"},
        },
        "env": [{"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "verification": {"mode": "Off"},
        "security": {"mode": "Restricted", "allowUnsafe": ["env-plain-secret"]},
        "placement": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}]},
        "rollout": {"strategy": "Surge"},
        "scaling": {"prefill": {"minReplicas": 0, "maxReplicas": 4}, "decode": None},
    },
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["UCX", "trtllm", "2Gi", "-1", "../..", "/", "http://x", "", "a" * 300, "\ud800", 10**400]
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a nested structure."""
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [found for key in keys for found in ((node, key), *places(node[key]))]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A full resource with a few parts replaced, removed or added."""
    resource = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(resource)))
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            container[key] = draw(values)
        elif action == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.text(max_size=8))] = draw(values)
        else:
            container.append(draw(values))
        if not places(resource):
            break
    return resource


def refusal(resource: Any) -> Refusal | None:
    try:
        accept(resource)
    except Refusal as refused:
        return refused
    return None


def verdict(resource: Any) -> tuple[str, ...]:
    """Return the fields of the problems; none if it is accepted. Fail if a problem cannot be acted on."""
    refused = refusal(resource)
    if refused is None:
        return ()
    assert refused.problems
    for problem in refused.problems:
        assert all((problem.field, problem.fault, problem.remedy, problem.rule)), problem
    return tuple(problem.field for problem in refused.problems)


def test_the_undamaged_resource_is_accepted() -> None:
    assert verdict(FULL) == ()


@settings(max_examples=300)
@given(damaged())
def test_damaged_resources_get_a_verdict(resource: dict[str, Any]) -> None:
    assert verdict(resource) == verdict(copy.deepcopy(resource))


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_any_specification_gets_a_verdict(spec: dict[str, Any]) -> None:
    assert verdict({**FULL, "spec": spec}), "a specification made of noise cannot be good"


@settings(max_examples=100)
@given(values)
def test_anything_at_all_gets_a_verdict(resource: Any) -> None:
    assert verdict(resource)
