"""SIMULATED agents and frontend: real HTTP servers on loopback with evidence as hardware would move it.

Each worker has an IP of its own (127.77.x.y), as pods have, and one port for all agents. A canary moves KV
cache from the simulated prefill worker to the decode worker the way a test says; the evidence is of
`unit.verify.simulated`.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from aiohttp import web

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.verification.verifier import VerificationAsked, WorkerPod
from unit.verify.simulated import RAILS, Pod, both, receives, sends

KEY = Key("ns", "demo")
TOKENS = 512
MODEL = {"layers": 80, "kvHeads": 8, "headDim": 128, "dtype": "bfloat16", "path": "/models/m/config.json"}
BYTES = TOKENS * 2 * 80 * 8 * 128 * 2
"""KV cache of the canary's prompt by that geometry: 168 MB."""
SRD = Promise(frozenset({Transport.UCX_SRD}), devices=4, gpus=4, rails=True)

Move = Callable[["SimulatedCluster"], Awaitable[None]]
_PARTS = 12


def over_efa(used: int = 4, seconds: float = 0.0) -> Move:
    """Move KV cache over so many of the devices, within a time."""

    async def move(cluster: "SimulatedCluster") -> None:
        for _ in range(_PARTS):
            sends(BYTES // _PARTS, *RAILS[:used])(cluster.prefill)
            receives(BYTES // _PARTS, *RAILS[:used])(cluster.decode)
            await asyncio.sleep(seconds / _PARTS)

    return move


async def over_tcp(cluster: "SimulatedCluster") -> None:
    """Move KV cache over the pods' network."""
    sends(BYTES, "eth0")(cluster.prefill)
    receives(BYTES, "eth0")(cluster.decode)


async def nowhere(_: "SimulatedCluster") -> None:
    """Move nothing: decode computes the prompt itself."""


@dataclass
class SimulatedCluster:
    """One prefill and one decode worker with their agents, and a frontend.

    Attributes:
        prefill: counters of the prefill worker.
        decode: counters of the decode worker.
        move: what a canary moves; the second request of a prompt moves nothing (a cache has it).
        text: what the frontend answers, request by request.
        status: HTTP status of the frontend's answers.
        longest: prompts of more words are refused, as by a model with a small context.
        completions: whether the frontend serves /v1/completions.
        seconds: time until the frontend answers.
        own_rate: bytes a second that each pod sends and receives over its network for purposes of its own.
        port: port of the agents; 0 takes a free one.
        front_port: port of the frontend; 0 takes a free one.
        on_evidence: may replace the document of an agent, by name of the pod.
    """

    network: str
    prefill: Pod
    decode: Pod
    move: Move = field(default_factory=over_efa)
    text: Callable[[int], str] = lambda _: "a story of four words"
    status: int = 200
    longest: int = 10**9
    completions: bool = True
    seconds: float = 0.0
    own_rate: float = 0.0
    on_evidence: Callable[[str, dict[str, Any]], Any] = lambda _, document: document
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0
    front_port: int = 0
    asked: int = 0
    _seen: float = 0.0
    _runners: list[web.AppRunner] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._seen = asyncio.get_running_loop().time()
        front = web.Application()
        front.router.add_post("/v1/completions", self._completion)
        front.router.add_post("/v1/chat/completions", self._chat)
        self.address = (
            f"http://{self.network}.1:{await self._serve(front, f'{self.network}.1', self.front_port)}"
        )
        for number, name in enumerate(("p-0", "d-0"), start=2):
            agent = web.Application()
            agent.router.add_get("/evidence", partial(self._evidence, name))
            self.port = await self._serve(agent, f"{self.network}.{number}", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, application: web.Application, host: str, port: int) -> int:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port).start()
        return int(runner.addresses[0][1])

    async def _evidence(self, name: str, _: web.Request) -> web.Response:
        self.asked += 1
        self._let_time_pass()
        pod = self.prefill if name == "p-0" else self.decode
        told = self.on_evidence(name, {**pod.document(), "model": MODEL})
        if isinstance(told, web.Response):
            return told
        if told is None:
            await asyncio.sleep(1)
        return web.json_response(told)

    def _let_time_pass(self) -> None:
        now = asyncio.get_running_loop().time()
        moved = int(self.own_rate * (now - self._seen))
        self._seen = now
        for pod in (self.prefill, self.decode):
            both(sends(moved, "eth0"), receives(moved, "eth0"))(pod)

    async def _completion(self, request: web.Request) -> web.Response:
        if not self.completions:
            return web.json_response({"message": "no such path"}, status=404)
        return await self._answer(request, lambda text: {"text": text}, lambda body: body["prompt"])

    async def _chat(self, request: web.Request) -> web.Response:
        return await self._answer(
            request,
            lambda text: {"message": {"role": "assistant", "content": text}},
            lambda body: body["messages"][0]["content"],
        )

    async def _answer(
        self, request: web.Request, choice: Callable[[str], Any], prompt_of: Callable[[Any], str]
    ) -> web.Response:
        body = json.loads(await request.text())
        prompt = prompt_of(body)
        self.headers.append(request.headers)
        self.requests.append(body)
        if self.status != 200:
            return web.json_response({"error": {"message": "no worker is ready"}}, status=self.status)
        if len(prompt.split()) > self.longest + 1:
            return web.json_response({"error": {"message": "the prompt is too long"}}, status=400)
        await asyncio.sleep(self.seconds)
        if [prompt_of(each) for each in self.requests].count(prompt) == 1:
            await self.move(self)
        text = self.text(len(self.requests))
        return web.json_response({"choices": [choice(text)], "usage": {"prompt_tokens": TOKENS}})

    def asks(self, **more: Any) -> VerificationAsked:
        """Return the question of this cluster's deployment."""
        promise = more.pop("promise", SRD)
        values: dict[str, Any] = {
            "namespace": KEY.namespace,
            "name": KEY.name,
            "revision": "rev1",
            "request": "",
            "after": None,
            "address": self.address,
            "frontends": (),
            "workers": (
                WorkerPod("p-0", "prefill", f"{self.network}.2", "worker"),
                WorkerPod("d-0", "decode", f"{self.network}.3", "worker"),
            ),
            "agent_port": self.port,
            "model": "m",
            "promises": {"prefill": promise, "decode": promise},
            "mode": "Warn",
            **more,
        }
        return VerificationAsked(**values)


@contextmanager
def in_background(cluster: SimulatedCluster) -> Iterator[SimulatedCluster]:
    """Run the servers in a thread of their own, for tests that are not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(cluster.__aenter__(), loop).result(10)
        yield cluster
    finally:
        asyncio.run_coroutine_threadsafe(cluster.__aexit__(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
