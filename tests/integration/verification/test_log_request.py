"""The request for a pod's log, against a server that stands in for the API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.runtime.kube import KubeCluster


@asynccontextmanager
async def cluster(
    answer: Callable[[], web.Response], seen: list[str], counted: list[tuple[str, str, int]]
) -> AsyncIterator[KubeCluster]:
    async def reply(request: web.Request) -> web.Response:
        seen.append(str(request.rel_url))
        return answer()

    application = web.Application()
    application.router.add_get("/{path:.*}", reply)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = KubeCluster(configuration, counted=lambda *what: counted.append(what))
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


async def test_the_start_and_the_end_of_a_log_are_asked_for() -> None:
    seen: list[str] = []
    counted: list[tuple[str, str, int]] = []
    async with cluster(lambda: web.Response(body=b"NIXL \xff\n"), seen, counted) as api:
        assert await api.log("ns", "p-0", "worker", most_bytes=100) == "NIXL \ufffd\n"
        await api.log("ns", "p-0", "worker", most_bytes=100, tail_lines=7)
    path = "/api/v1/namespaces/ns/pods/p-0/log?container=worker&limitBytes=100"
    assert seen == [path, f"{path}&tailLines=7"]
    assert counted == [("get", "PodLog", 200)] * 2


@pytest.mark.parametrize(("code", "error"), [(404, NotFoundError), (403, ClusterError), (500, ClusterError)])
async def test_refusals_are_errors_of_the_cluster(code: int, error: type[ClusterError]) -> None:
    body = {"reason": "Forbidden", "message": "pods/log is forbidden"}
    async with cluster(lambda: web.json_response(body, status=code), [], []) as api:
        with pytest.raises(error, match="pods/log is forbidden"):
            await api.log("ns", "p-0", "worker", most_bytes=100)


async def test_a_refusal_that_breaks_off_is_one_all_the_same() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nno worker")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = KubeCluster(configuration)
    try:
        with pytest.raises(ClusterError, match="HTTP 503, and the answer broke off") as refused:
            await client.log("ns", "p-0", "worker", most_bytes=100)
        assert refused.value.code == 503
    finally:
        await client.close()
        server.close()
