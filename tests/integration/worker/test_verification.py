"""The operator's measurement of real workers: Dynamo's frontend, two engines, two agents, NIXL over UCX/tcp.

All of them are processes of one host, so that KV cache loops within it and no interface counts it: what is
left is the engine's own account, and the confidence says so. Between pods interfaces count it as well, which
the end-to-end tests show.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.verification import VerificationAsked, VerificationResult, WorkerPod
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.verification.verifier import TransportVerifier

pytestmark = pytest.mark.timeout(400)
MODEL = "smollm2-135m-instruct"
BLOCK_TOKENS, BLOCK_BYTES = 16, 16 * 30 * 2 * 3 * 64 * 4
AGENT_PORT = 19095
ADDRESSES = {"prefill": "127.79.0.2", "decode": "127.79.0.3"}


class Logs:
    """The workers' log files, as the kubelet would give them."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack

    async def log(
        self, _namespace: str, pod: str, _container: str, *, most_bytes: int, tail_lines: int | None = None
    ) -> str:
        text: str = self._stack.log(pod)
        return text[:most_bytes] if tail_lines is None else text[-most_bytes:]


@pytest.fixture(scope="module")
def serving(stack: Any, engine_yaml: Callable[..., Path]) -> Any:
    config = engine_yaml(transfer={"timeout_seconds": 20}, kv_cache={"memory_mib": 256})
    stack.start_frontend()
    stack.start_worker("prefill", "prefill", config)
    stack.start_worker("decode", "decode", config)
    stack.wait_ready()
    return stack


@pytest.fixture(scope="module")
def agents(serving: Any, model_dir: Path) -> Iterator[dict[str, int]]:
    """Ports of the agents beside the workers, by role."""
    with ExitStack() as ending:
        ports = {}
        for number, role in enumerate(ADDRESSES):
            ports[role] = AGENT_PORT + 1 + number
            metrics = f"http://127.0.0.1:{serving.metrics_ports[role]}/metrics"
            options = ["--port", str(ports[role]), "--engine-metrics", metrics, "--model", str(model_dir)]
            command = [sys.executable, "-m", "disagg_worker.main", "agent", *options]
            process = subprocess.Popen(command)
            ending.callback(process.wait)
            ending.callback(process.terminate)
        yield ports


@asynccontextmanager
async def at_pod_addresses(ports: dict[str, int]) -> AsyncIterator[None]:
    """Let each agent be asked at an address of its own and one port, as in pods."""
    async with AsyncExitStack() as ending, aiohttp.ClientSession() as session:
        for role, port in ports.items():

            async def passed_on(_: web.Request, port: int = port) -> web.Response:
                async with session.get(f"http://127.0.0.1:{port}/evidence") as answer:
                    return web.Response(body=await answer.read(), status=answer.status)

            application = web.Application()
            application.router.add_get("/evidence", passed_on)
            runner = web.AppRunner(application)
            await runner.setup()
            ending.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, ADDRESSES[role], AGENT_PORT).start()
        yield


async def verified(serving: Any, agents: dict[str, int], promise: Promise) -> VerificationResult:
    """Measure as the operator does."""
    asked = VerificationAsked(
        namespace="ns",
        name="demo",
        revision="r1",
        request="",
        after=None,
        address=serving.url,
        frontends=(),
        workers=tuple(WorkerPod(role, role, address, "worker") for role, address in ADDRESSES.items()),
        agent_port=AGENT_PORT,
        model=MODEL,
        promises=dict.fromkeys(ADDRESSES, promise),
        mode="Warn",
        prompt_tokens=1000,
    )
    changed = asyncio.Event()
    verifier = TransportVerifier(Logs(serving), lambda _: changed.set(), Metrics())
    async with at_pod_addresses(agents), asyncio.timeout(120):
        running = asyncio.create_task(verifier.run())
        try:
            while (state := verifier.want(Key("ns", "demo"), asked)).result is None:
                changed.clear()
                await changed.wait()
        finally:
            running.cancel()
            await asyncio.wait([running])
    return state.result


async def test_the_reference_engine_over_tcp_is_proven_with_its_bytes(
    serving: Any, agents: dict[str, int]
) -> None:
    result = await verified(serving, agents, Promise(frozenset({Transport.UCX_TCP})))
    assert (result.verified, result.reason, result.label) == ("True", "AsPromised", "NIXL/UCX tcp"), result
    assert "UCX over tcp" in result.message
    assert result.confidence == "Medium"
    assert result.expected_bytes is not None
    assert result.expected_bytes % (BLOCK_BYTES // BLOCK_TOKENS) == 0
    tokens = result.expected_bytes * BLOCK_TOKENS // BLOCK_BYTES
    assert tokens == pytest.approx(1000, rel=0.1)
    assert result.bytes == -(-tokens // BLOCK_TOKENS) * BLOCK_BYTES
    assert result.bytes == pytest.approx(result.expected_bytes, rel=0.02)


async def test_it_is_not_what_a_fabric_promises(serving: Any, agents: dict[str, int]) -> None:
    result = await verified(serving, agents, Promise(frozenset({Transport.UCX_SRD}), devices=4, gpus=4))
    assert (result.verified, result.reason) == ("False", "WorseTransport")
    assert "UCX over tcp, but the platform promises UCX over srd" in result.message
