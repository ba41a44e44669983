"""What ``kubectl disagg doctor`` reads of a cluster that is busy, forbids things or breaks off."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from disagg_operator.cli.doctor.collected import Cause, Collected
from disagg_operator.cli.live import collecting, patiently
from disagg_operator.cli.live.connection import Connection, connect
from disagg_operator.cli.place import Place
from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, NODE, POD, Kind, Object

AGENT = {"name": "transport-agent", "restartPolicy": "Always", "ports": [{"containerPort": 9095}]}
FORBIDDEN = ClusterError(403, "Forbidden", 'User "ann" cannot get it')
BUSY = ClusterError(429, "TooManyRequests", "busy", 0.01)


class Silent:
    """Tells nobody."""

    def say(self, text: str, style: str = "") -> None:
        """Say nothing."""

    def now(self, text: str) -> None:
        """Say nothing."""


class Cluster:
    """STAND-IN for an API server: a deployment with a pod of which each part may be refused, or break off."""

    def __init__(self) -> None:
        self.answers: dict[str, list[bytes | ClusterError]] = {}
        """What is answered about a path that has this part: each item once, the last one for ever."""
        self.refused: dict[Kind, ClusterError] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        if kind in self.refused:
            raise self.refused[kind]
        assert kind in (DISAGG_DEPLOYMENT, NODE)
        return {"kind": kind.kind, "metadata": {"name": name, "namespace": namespace, "uid": "u"}}

    async def serves(self, _: Kind) -> bool:
        return False

    async def list_page(self, kind: Kind, *_: Any, **__: Any) -> Object:
        if kind in self.refused:
            raise self.refused[kind]
        worker = {"name": "worker", "state": {"running": {}}, "restartCount": 1}
        pod = {
            "metadata": {"name": "p", "namespace": "models", "labels": {}},
            "spec": {"nodeName": "n", "initContainers": [AGENT], "containers": [{"name": "worker"}]},
            "status": {"containerStatuses": [worker]},
        }
        return {"metadata": {}, "items": [pod] if kind == POD else []}

    @asynccontextmanager
    async def opened(
        self, _: str, __: str, path: str, *, query: Mapping[str, str] | None = None, **___: Any
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        self.asked.append((path, query or {}))
        key = (
            "previous" if query and "previous" in query else next(k for k in (*self.answers, "") if k in path)
        )
        left = self.answers.get(key, [b""])
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, ClusterError):
            raise answer

        async def chunks() -> AsyncIterator[bytes]:
            for line in answer.splitlines(keepends=True):
                if line == b"BREAK":
                    raise ClusterError(0, "ClientPayloadError", "the answer broke off")
                yield line

        yield chunks()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(patiently, "_MARGIN_SECONDS", 0.0)
    found = Cluster()
    found.answers = {"previous": [b"old\n"], "/log": [b"a\nb\n"], "/evidence": [b"{}"]}
    return found


async def collected(server: Cluster) -> Collected:
    connection = Connection(server, Configuration(), "models")  # type: ignore[arg-type]
    return await collecting.collect(connection, "llama", 2000, Silent())


async def test_all_is_read_where_nothing_is_refused(server: Cluster) -> None:
    found = await collected(server)
    assert found.logs == {"p/worker.log": "a\nb\n", "p/worker.previous.log": "old\n"}
    assert found.agents == {"p": b"{}"}
    assert found.unread == {}


async def test_what_a_busy_api_server_puts_off_is_read_a_little_later(server: Cluster) -> None:
    server.answers["/log"] = [BUSY, b"a\n"]
    server.answers["/evidence"] = [BUSY, BUSY, b"{}"]
    found = await collected(server)
    assert found.logs["p/worker.log"] == "a\n"
    assert found.agents == {"p": b"{}"}
    assert found.unread == {}


async def test_an_api_server_that_stays_busy_is_told(server: Cluster) -> None:
    server.answers["/log"] = [BUSY]
    found = await collected(server)
    assert {what: each.cause for what, each in found.unread.items()} == {"log p/worker.log": Cause.FAILED}


async def test_the_newest_lines_of_a_long_log_are_kept(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_MOST_BYTES", 100)
    server.answers["/log"] = [b"".join(b"line %d\n" % number for number in range(1000))]
    found = await collected(server)
    assert found.logs["p/worker.log"].endswith("line 998\nline 999\n")
    assert len(found.logs["p/worker.log"]) <= 100
    assert found.unread["log p/worker.log"].cause is Cause.HARMLESS
    assert "lines before left out" in found.unread["log p/worker.log"].why
    assert not any("limitBytes" in query for _, query in server.asked)


async def test_a_log_that_breaks_off_is_kept_as_far_as_it_came(server: Cluster) -> None:
    server.answers["/log"] = [b"a\nb\nBREAK"]
    found = await collected(server)
    assert found.logs["p/worker.log"] == "a\nb\n"
    assert found.unread["log p/worker.log"].cause is Cause.FAILED


async def test_a_log_that_is_not_there_is_no_trouble(server: Cluster) -> None:
    server.answers["previous"] = [ClusterError(400, "BadRequest", "previous terminated container not found")]
    server.answers["/log"] = [NotFoundError(404, "NotFound", "pods p not found")]
    found = await collected(server)
    assert {each.cause for each in found.unread.values()} == {Cause.HARMLESS}
    assert len(found.unread) == 2


async def test_what_is_forbidden_is_told_once_for_all(server: Cluster) -> None:
    server.answers = {"previous": [FORBIDDEN], "/log": [FORBIDDEN], "/evidence": [FORBIDDEN]}
    server.refused = {NODE: FORBIDDEN}
    found = await collected(server)
    assert {what: each.cause for what, each in found.unread.items()} == dict.fromkeys(
        ("nodes", "agents", "logs"), Cause.FORBIDDEN
    )
    assert found.agents == {}
    assert "RBAC verb 'get' on 'pods/log'" in found.unread["logs"].why


async def test_a_node_that_is_gone_is_trouble(server: Cluster) -> None:
    server.refused = {NODE: NotFoundError(404, "NotFound", "nodes n not found")}
    assert (await collected(server)).unread["node n"].cause is Cause.FAILED


async def test_each_log_that_is_followed_may_hold_a_connection(tmp_path: Any) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        '{"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], '
        '"clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}], '
        '"users": [{"name": "a", "user": {}}]}'
    )
    async with connect(Place(kubeconfig=kubeconfig)) as connection:
        assert connection.configuration.connection_pool_maxsize == 0
