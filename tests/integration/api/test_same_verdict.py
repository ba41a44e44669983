"""The API server and the models judge alike, for specifications made from the schema and then damaged.

What the models refuse by shape, the API server refuses; what the API server refuses, ``accept`` refuses too.
So an offline check is never kinder than the cluster, and the CRD never kinder than the models.
"""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from disagg_operator.api.crd.schema import structural
from disagg_operator.api.parse import accept, parse
from disagg_operator.api.problems import Refusal
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from testcluster.kubectl import Kubectl

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crd", "namespaces")]

SPEC = structural(DisaggDeployment)["properties"]["spec"]
DAMAGE_ONE_IN = 100
MODEL = {"name": "small", "source": {"runtimeImage": {"path": "/models/small"}}}

opaque = st.sampled_from([{}, {"spec": {"hostNetwork": True}}, {"a": [1, None, {"b": "c"}]}])
junk = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2.5,
        10**6,
        "",
        "x",
        "5",
        "a b",
        "Ä",
        "2Gi",
        [],
        ["x"],
        [None],
        {},
        {"x": 1},
        {"name": "a"},
    ]
)


def made_from(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that mostly fit a schema."""
    return st.integers(1, DAMAGE_ONE_IN).flatmap(lambda die: junk if die == 1 else fitting(node))


def fitting(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return opaque
    if node.get("x-kubernetes-int-or-string"):
        return st.sampled_from([1, -1, "500m", "2Gi", "1e3", "2GB", "-1"])
    return _MAKERS[node["type"]](node)


def objects(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "additionalProperties" in node:
        keys = st.sampled_from(["a", "cpu", "memory", "example.com/nic"])
        return st.dictionaries(keys, made_from(node["additionalProperties"]), max_size=2)
    properties = node["properties"]
    required = node.get("required", [])

    def chosen(names: list[str]) -> st.SearchStrategy[Any]:
        return st.fixed_dictionaries(
            {name: made_from(properties[name]) for name in sorted({*required, *names})}
        )

    return st.lists(st.sampled_from(sorted(properties)), max_size=3, unique=True).flatmap(chosen)


def texts(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "pattern" in node:
        return st.from_regex(node["pattern"], fullmatch=True)
    return st.sampled_from(["", "a", "a/b", "/a", "a/../b", "é\u00a0", "a\v"])


_MAKERS: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "object": objects,
    "string": texts,
    "array": lambda node: st.lists(made_from(node["items"]), max_size=2),
    "integer": lambda node: st.integers(low := node.get("minimum", 0), low + 20) | st.just(-1),
    "number": lambda node: st.sampled_from([node["maximum"], node["minimum"], 0.5, 2]),
    "boolean": lambda _: st.booleans(),
}


@pytest.fixture(scope="module")
def url(kubectl: Kubectl) -> Iterator[str]:
    """Address that takes new DisaggDeployments, checks them and forgets them."""
    proxy = subprocess.Popen(kubectl.argv("proxy", "--port=0"), stdout=subprocess.PIPE, text=True)
    assert proxy.stdout is not None
    with proxy:
        port = proxy.stdout.readline().rpartition(":")[2].strip()
        path = "apis/disagg.dev/v1alpha1/namespaces/api-tests/disaggdeployments"
        yield f"http://127.0.0.1:{port}/{path}?dryRun=All&fieldValidation=Strict"
        proxy.terminate()


def refused(judge: Any, resource: dict[str, Any]) -> str:
    try:
        judge(resource)
    except Refusal as refusal:
        return str(refusal)
    return ""


specs = st.one_of(objects(SPEC), objects(SPEC).map(lambda spec: {**spec, "model": MODEL}))
"""Half of them with a good model, or few would come further than that."""


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(spec=specs)
def test_same_verdict(url: str, spec: dict[str, Any]) -> None:
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "judged", "namespace": "api-tests"},
        "spec": spec,
    }
    answer = httpx.post(url, json=resource)
    assert answer.status_code in (201, 400, 422), answer.text
    event(str(answer.status_code))
    if answer.status_code == 201:
        assert refused(parse, resource) == ""
        assert refused(parse, answer.json()) == ""
    else:
        assert refused(accept, resource), answer.text
