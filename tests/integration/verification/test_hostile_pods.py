"""Pods that try to make the operator speak to others for them, or to fill its memory."""

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from disagg_operator.reconcile.verification.verifier import WorkerPod
from disagg_operator.runtime.verification.agents import LARGEST, Agents
from disagg_operator.runtime.verification.canary import CanaryClient, fresh
from disagg_operator.runtime.verification.verifier import new_session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_hosts = itertools.count(1)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    """Serve every path with a handler; yield address and port."""
    host = f"127.78.0.{next(_hosts)}"
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    try:
        yield host, runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_the_operator_to_another_address(status: int) -> None:
    reached: list[str] = []

    async def metadata_service(request: web.Request) -> web.Response:
        reached.append(str(request.url))
        return web.json_response({"AccessKeyId": "key-of-the-node"}, status=404)

    async with serving(metadata_service) as (inner, inner_port):

        async def hostile(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"http://{inner}:{inner_port}/latest"})

        async with serving(hostile) as (host, port), new_session() as session:
            pod = WorkerPod("a", "decode", host, "worker")
            look = await Agents(session, 10).look([pod], port)
            reply = await CanaryClient(session, 10).ask([f"http://{host}:{port}"], "m", fresh(None))
    assert reached == []
    assert look.failures == {"a": f"the agent answers HTTP {status}"}
    assert reply.text is None
    assert reply.error.startswith(f"HTTP {status}")


async def test_an_endless_answer_costs_bounded_memory_and_time() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 64 * LARGEST:
                await response.write(b" " * 65536)
                sent += 65536
        except ConnectionError:
            pass
        return response

    async with serving(endless) as (host, port), new_session() as session:
        look = await Agents(session, 30).look([WorkerPod("a", "decode", host, "worker")], port)
    assert look.failures == {"a": "the agent's answer is too large"}
    assert sent < 32 * LARGEST, "what is in flight in the kernel, and no more"


async def test_what_is_packed_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (64 << 20))

    async def packed(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with serving(packed) as (host, port), new_session() as session:
        look = await Agents(session, 30).look([WorkerPod("a", "decode", host, "worker")], port)
    assert "is not understood" in look.failures["a"]


async def test_a_pod_that_says_nothing_costs_a_bounded_time() -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        return web.Response()

    async with serving(silent) as (host, port), new_session() as session, asyncio.timeout(60):
        look = await Agents(session, 0.2).look([WorkerPod("a", "decode", host, "worker")], port)
        reply = await CanaryClient(session, 0.2).ask([f"http://{host}:{port}"], "m", fresh(None))
    assert look.failures == {"a": "the agent does not answer within 0.2 s"}
    assert reply.error == "no answer within 0.2 s"


async def test_cookies_of_one_pod_go_to_no_other() -> None:
    seen: list[str] = []

    async def sweet(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie", ""))
        return web.Response(headers={"Set-Cookie": "a=b; Path=/"})

    async with serving(sweet) as (host, port), new_session() as session:
        pods = [WorkerPod(name, "decode", host, "worker") for name in "ab"]
        for _ in range(2):
            await Agents(session, 10).look(pods, port)
    assert seen == [""] * 4
