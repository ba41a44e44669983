"""The operator's measurement of a stack of real workers: agents beside them, and the verifier's own task."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from disagg_operator.api.transport import Promise
from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.verification.verifier import VerificationAsked, VerificationResult, WorkerPod
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.verification.agents import Agents
from disagg_operator.runtime.verification.canary import CanaryClient
from disagg_operator.runtime.verification.measurement import Measured, Measurement, Timing
from disagg_operator.runtime.verification.pod_logs import PodLogs
from disagg_operator.runtime.verification.verifier import TransportVerifier
from integration.worker.stack import MODEL, Stack

AGENT_PORT = 19095
ADDRESSES = {"prefill": "127.79.0.2", "decode": "127.79.0.3"}


class Logs:
    """The workers' log files, as the kubelet would give them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def log(
        self, _namespace: str, pod: str, _container: str, *, most_bytes: int, tail_lines: int | None = None
    ) -> str:
        text: str = self._stack.log(pod)
        return text[:most_bytes] if tail_lines is None else text[-most_bytes:]


@contextmanager
def agents_of(serving: Stack, model_dir: Path) -> Iterator[dict[str, int]]:
    """Run an agent beside each worker, and yield their ports by role."""
    with ExitStack() as ending:
        ports = {}
        for number, role in enumerate(ADDRESSES):
            ports[role] = AGENT_PORT + 1 + number
            metrics = f"http://127.0.0.1:{serving.metrics_ports[role]}/metrics"
            options = ["--port", str(ports[role]), "--engine-metrics", metrics, "--model", str(model_dir)]
            command = [sys.executable, "-m", "disagg_worker.main", "agent", *options]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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


def asked_of(serving: Stack, promise: Promise, tokens: int) -> VerificationAsked:
    """Return what the operator would ask of the workers."""
    return VerificationAsked(
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
        prompt_tokens=tokens,
    )


async def measured_once(serving: Stack, agents: dict[str, int], promise: Promise, tokens: int) -> Measured:
    """Measure once, whatever the verdict."""
    timing = Timing()
    async with at_pod_addresses(agents), aiohttp.ClientSession() as session:
        witnesses = (
            Agents(session, timing.agent),
            CanaryClient(session, timing.answer),
            PodLogs(Logs(serving)),
        )
        return await Measurement(*witnesses, timing).measure(
            asked_of(serving, promise, tokens), lambda _: None
        )


async def verified(
    serving: Stack, agents: dict[str, int], promise: Promise, tokens: int
) -> VerificationResult:
    """Measure as the operator does, again where it could not be told."""
    asked = asked_of(serving, promise, tokens)
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
