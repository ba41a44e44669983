"""A rank that does not lead: it computes its layers, reads into them and lets them be read, as it is told.

It is ready once all ranks are there. It ends with the leader: well when the leader says so, badly when the
leader is gone. Asked to end, it tells the leader, which finishes its requests first.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import uvloop

from disagg_worker.agent.serving import AgentServer
from disagg_worker.config import EngineConfig
from disagg_worker.ending import leave
from disagg_worker.engine.compute import limit_threads
from disagg_worker.engine.stage import Stage, local_stage
from disagg_worker.errors import ConfigError
from disagg_worker.group import wire
from disagg_worker.group.calls import Answerer
from disagg_worker.group.joining import Hello, group_digest, join
from disagg_worker.group.leader import BYE, LEAVING, PASS
from disagg_worker.group.membership import Membership, pod_name
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.model.gguf import ModelError, read_gguf
from disagg_worker.model.weights import digests
from disagg_worker.transfer.fetcher import Fetcher, Order
from disagg_worker.transfer.link import Link, open_link
from disagg_worker.transfer.outlet import Outlet
from disagg_worker.transfer.source import GRACE_SECONDS

log = logging.getLogger(__name__)


class Memory:
    """What a follower's KV memory does for the leader.

    Args:
        link: The KV memory.
        peer: Name of this rank's pod.
        timeout_seconds: Limit of one read, for people.
        metrics: Where bytes are counted.
    """

    def __init__(self, link: Link, peer: str, timeout_seconds: float, metrics: WorkerMetrics) -> None:
        self.outlet = Outlet(link, peer, timeout_seconds + GRACE_SECONDS, metrics)
        self.outlet.on_read = self._end
        self._fetcher = Fetcher(link, timeout_seconds, metrics)
        self._open: dict[str, asyncio.Event] = {}
        self._fetching: dict[str, asyncio.Event] = {}

    async def serve(self, method: str, body: Any) -> Any:
        """Do what the leader's `Rank` asks for; returns the answer."""
        match method:
            case "sums":
                return await self.outlet.sums(**body)
            case "open":
                await self._opened(**body)
            case "shut":
                self.outlet.shut(body)
                self._end(body)
            case "fetch":
                await self._fetch(Order.model_validate(body))
            case "finished":
                await self._finished(body)
            case _:
                raise ValueError(f"a leader of another version asks for {method!r}")
        return None

    async def _opened(self, lease: str, blocks: list[int], tokens: int) -> None:
        ended = self._open[lease] = asyncio.Event()
        await self.outlet.open(lease, blocks, tokens)
        await ended.wait()

    def _end(self, lease: str) -> None:
        if lease in self._open:
            self._open.pop(lease).set()

    async def _fetch(self, order: Order) -> None:
        done = self._fetching[order.lease] = asyncio.Event()
        try:
            await self._fetcher.fetch(order, await self._fetcher.connect(order.parts))
        finally:
            del self._fetching[order.lease]
            done.set()

    async def _finished(self, lease: str) -> None:
        if lease in self._fetching:
            await self._fetching[lease].wait()
        await self._fetcher.finished(lease)


def follow(role: str, config: EngineConfig, membership: Membership, metrics_port: int) -> None:
    """Take part in a group until it ends.

    Args:
        role: What the group does with requests.
        config: Engine configuration.
        membership: Which rank this is.
        metrics_port: Port of /metrics.

    Raises:
        ConfigError: The model or the transfer backend cannot be used, or the group does not come together.
    """
    place = membership.place
    try:
        spec, weights = read_gguf(config.model.path / "model.gguf", place)
    except ModelError as error:
        raise ConfigError(f"model.path: {error}") from None
    limit_threads(config.compute.threads)
    # Whether both sides have the same model, the leaders find out.
    pool, stage = local_stage(config, spec, weights, place, fingerprint="")
    metrics = WorkerMetrics()
    hello = Hello(
        rank=place.rank,
        ranks=place.ranks,
        group=group_digest(role, config),
        call="",
        line="control",
        digests=digests(weights),
    )
    memory = None
    if role != "aggregated":
        peer = pod_name()
        link = open_link(f"{peer}-{uuid.uuid4().hex[:8]}", config.transfer.backend, pool, config.staging)
        memory = Memory(link, peer, config.transfer.timeout_seconds, metrics)
    uvloop.run(_Follower(membership, stage, memory, metrics, metrics_port).run(hello))


class _Follower:
    def __init__(
        self,
        membership: Membership,
        stage: Stage,
        memory: Memory | None,
        metrics: WorkerMetrics,
        metrics_port: int,
    ) -> None:
        self._membership, self._stage, self._memory = membership, stage, memory
        self._metrics, self._metrics_port = metrics, metrics_port
        self._done = False

    async def run(self, hello: Hello) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, leave, 128 + number)
        if self._memory is not None:
            hello = hello.model_copy(update={"part": await self._memory.outlet.part()})
        lines = await asyncio.to_thread(join, self._membership, hello)
        answerer = Answerer(lines["control"], self._serve)
        await answerer.line.open()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, answerer.say, LEAVING)
        self._metrics.serve(self._metrics_port)
        _answer_probes(int(os.environ.get("DYN_SYSTEM_PORT", "0")))
        threading.Thread(target=_compute, args=(self._stage, lines["compute"]), daemon=True).start()
        log.info("rank %d of %d: all ranks are there", hello.rank, hello.ranks)
        await answerer.hear()
        if not self._done:
            log.error("the leader %s is gone; this rank ends with it", self._membership.leader)
        leave(0 if self._done else 1)

    async def _serve(self, method: str, body: Any) -> Any:
        if method == BYE:
            self._done = True
        elif self._memory is not None:
            return await self._memory.serve(method, body)
        return None


def _compute(stage: Stage, connection: socket.socket) -> None:
    """Compute what the leader sends until its connection ends; a bug ends the rank."""
    while True:
        try:
            text, hidden = wire.receive(connection)
        except OSError:
            return  # the other connection tells why
        try:
            result = stage.run(PASS.validate_json(text), hidden)
        except Exception:
            log.exception("the computation failed")
            leave(1)
        try:
            wire.send(connection, b"", result)
        except OSError:
            return


def _answer_probes(port: int) -> None:
    """Answer the paths that Kubernetes asks the leader's HTTP server for; a port of 0 is none."""

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        known = environment.get("PATH_INFO") in ("/live", "/health")
        status = HTTPStatus.OK if known else HTTPStatus.NOT_FOUND
        start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
        return [f"{status.phrase}\n".encode()]

    if port:
        server = AgentServer(port, answer)
        threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
