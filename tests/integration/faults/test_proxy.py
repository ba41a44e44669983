"""The fault proxy itself: what it lets pass, what it does, what it logs."""

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import yaml

from integration.faults.faults import Answer, Hold, Recall, Reset, Stall, Swallow, silence
from integration.faults.moments import At, Moment
from integration.faults.proxy import FaultProxy
from integration.faults.requests import CLIENT_LEFT, NO_ANSWER, Match, parse
from integration.operator.control_plane import Api, Object, eventually

pytestmark = pytest.mark.apiserver

CREATE = Match(verbs={"create"}, resources={"configmaps"})


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx.Client]:
    """A client of the proxy."""
    server = yaml.safe_load(proxy.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    with httpx.Client(base_url=server, timeout=20, trust_env=False) as made:
        yield made


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}


def path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps{'/' + name if name else ''}"


def names(api: Api, namespace: str) -> set[str]:
    return {obj["metadata"]["name"] for obj in api.find("configmaps", namespace)} - {"kube-root-ca.crt"}


def events(client: httpx.Client, namespace: str, seconds: float, wanted: int = 99) -> list[tuple[str, str]]:
    """Return type and name of the events of a watch of so many seconds, or of so many first ones."""
    found: list[tuple[str, str]] = []
    query = {"watch": "1", "timeoutSeconds": str(int(seconds)), "resourceVersion": "0"}
    with client.stream("GET", path(namespace), params=query) as answer:
        for line in answer.iter_lines():
            event = json.loads(line)
            found.append((event["type"], event["object"]["metadata"]["name"]))
            if len(found) == wanted:
                break
    return found


@pytest.mark.parametrize(
    ("method", "target", "content", "expected"),
    [
        ("GET", "/apis/apps/v1/statefulsets?watch=1", "", "watch statefulsets"),
        ("GET", "/api/v1/namespaces/a/pods?limit=5", "", "list pods"),
        ("GET", "/api/v1/namespaces/a", "", "get namespaces a"),
        ("GET", "/apis/apps/v1", "", "get"),
        (
            "PATCH",
            "/apis/x/v1/namespaces/a/things/b/status",
            "application/apply-patch+yaml",
            "apply things/status b",
        ),
        ("PATCH", "/api/v1/namespaces/a/pods/b", "application/merge-patch+json", "patch pods b"),
        ("PUT", "/apis/c/v1/namespaces/a/leases/l", "application/json", "update leases l"),
    ],
)
def test_requests_are_told_apart(method: str, target: str, content: str, expected: str) -> None:
    query = dict(pair.split("=") for pair in target.partition("?")[2].split("&") if pair)
    assert str(parse(method, target, query, content=content)) == expected


def test_what_no_rule_means_passes_and_is_logged(
    client: httpx.Client, proxy: FaultProxy, namespace: str
) -> None:
    made = client.post(path(namespace), json=config_map("a"))
    assert made.status_code == 201
    assert client.get(path(namespace, "a")).json()["data"] == {"a": "1"}
    assert client.get(path(namespace, "none")).status_code == 404
    # Encoded characters of a query must come through as they were sent.
    assert not client.get(path(namespace), params={"labelSelector": "x=a,y notin (b)"}).json()["items"]
    assert events(client, namespace, 10, wanted=2) is not None
    logged = [(entry.call.verb, entry.call.name, entry.code) for entry in proxy.log]
    assert logged[:4] == [("create", "a", 201), ("get", "a", 200), ("get", "none", 404), ("list", "", 200)]
    assert proxy.log[0].digest != proxy.log[1].digest
    assert logged[4][0] == "watch"


def test_answers_come_before_or_after_the_deed(
    api: Api, client: httpx.Client, proxy: FaultProxy, namespace: str
) -> None:
    proxy.on(CREATE, Answer(429, retry_after=7), times=1)
    proxy.on(CREATE, Answer(500, after=True), times=1)
    busy = client.post(path(namespace), json=config_map("a"))
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert busy.json()["kind"] == "Status"
    assert not names(api, namespace)
    assert client.post(path(namespace), json=config_map("b")).status_code == 500
    assert names(api, namespace) == {"b"}
    assert client.post(path(namespace), json=config_map("c")).status_code == 201
    assert [entry.code for entry in proxy.entries(CREATE)] == [429, 500, 201]
    assert [entry.passed is None for entry in proxy.entries(CREATE)] == [True, False, False]


def test_connections_break_before_or_after_the_deed(
    api: Api, client: httpx.Client, proxy: FaultProxy, namespace: str
) -> None:
    proxy.on(CREATE, Reset(), skip=1, times=1)
    proxy.on(CREATE, Reset(after=True), times=1)
    # The first rule lets one pass, which is the first that the second one means.
    for name in ("a", "b"):
        with pytest.raises(httpx.TransportError):
            client.post(path(namespace), json=config_map(name))
    assert names(api, namespace) == {"a"}
    assert [entry.code for entry in proxy.entries(CREATE)] == [NO_ANSWER, NO_ANSWER]


def test_requests_are_stalled_and_held(
    api: Api, client: httpx.Client, proxy: FaultProxy, namespace: str
) -> None:
    proxy.on(CREATE, Stall(1.0), times=1)
    hold = Hold()
    proxy.on(CREATE, hold)
    began = time.monotonic()
    assert client.post(path(namespace), json=config_map("a")).status_code == 201
    assert time.monotonic() - began >= 1.0
    with pytest.raises(httpx.ReadTimeout):
        client.post(path(namespace), json=config_map("b"), timeout=0.5)
    eventually(lambda: proxy.entries(CREATE)[1].code == CLIENT_LEFT, "its client is known to have left")
    codes: list[int] = []
    waiting = threading.Thread(
        target=lambda: codes.append(client.post(path(namespace), json=config_map("c")).status_code)
    )
    waiting.start()
    eventually(lambda: len(proxy.entries(CREATE)) == 3, "the third has come")
    assert names(api, namespace) == {"a"}
    hold.release()
    waiting.join(20)
    assert codes == [201]
    assert names(api, namespace) == {"a", "c"}, "what its client gave up is never passed on"


def test_watches_fall_silent_and_lose_events(
    api: Api, client: httpx.Client, proxy: FaultProxy, namespace: str
) -> None:
    for name in ("a", "b"):
        api.create("configmaps", namespace, config_map(name))
    watch = Match(verbs={"watch"})
    proxy.on(watch, silence, times=1)
    proxy.on(watch, Swallow({"ADDED"}, "a"), times=1)
    assert not events(client, namespace, 1)
    found = events(client, namespace, 2)
    assert ("ADDED", "b") in found
    assert ("ADDED", "a") not in found
    assert ("ADDED", "a") in events(client, namespace, 10, wanted=3)


def test_lists_are_answered_from_an_old_state(
    api: Api, client: httpx.Client, proxy: FaultProxy, namespace: str
) -> None:
    recall = Recall()
    proxy.on(Match(verbs={"list"}), recall)
    assert client.get(path(namespace)).is_success
    api.create("configmaps", namespace, config_map("a"))
    recall.recalling = True
    assert "a" not in {obj["metadata"]["name"] for obj in client.get(path(namespace)).json()["items"]}


@pytest.mark.parametrize("moment", Moment)
def test_a_hook_acts_at_the_nth_write(
    api: Api, client: httpx.Client, proxy: FaultProxy, namespace: str, moment: Moment
) -> None:
    acted: list[set[str]] = []
    at = At(2, moment, lambda: acted.append(names(api, namespace)))
    proxy.hook = at
    assert client.post(path(namespace), json=config_map("a")).status_code == 201
    assert client.get(path(namespace)).is_success
    with pytest.raises(httpx.TransportError):
        client.post(path(namespace), json=config_map("b"))
    there = {"a"} if moment is Moment.BEFORE else {"a", "b"}
    assert acted == [there]
    assert at.done is not None
    assert str(at.done) == "create configmaps b"
    assert client.post(path(namespace), json=config_map("c")).status_code == 201
    assert names(api, namespace) == there | {"c"}
