"""The worker as Dynamo sees it: Dynamo's own Worker registers, watches health, and shuts down.

Shutdown on SIGTERM: Dynamo takes the worker out of discovery and waits a moment for the news to spread; a
prefill worker then stays until its offers are read (at most as long as offers stand); `cleanup` lets
running answers end.
"""

import asyncio
import contextlib
import logging
import os
import signal
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from wsgiref.simple_server import WSGIServer

import uvloop
from dynamo.common.backend import EngineConfig as Registration
from dynamo.common.backend import LLMEngine, LlmRegistration, WorkerConfig
from dynamo.common.backend.health_check import build_health_check_payload, is_probe
from dynamo.common.backend.publisher import KvEventSource, PushSource
from dynamo.common.backend.worker import Worker
from dynamo.common.constants import DisaggregationMode
from dynamo.common.utils.namespace import get_worker_namespace
from dynamo.llm import KvEventPublisher
from dynamo.llm.exceptions import Cancelled, CannotConnect, DynamoException, InvalidArgument, Unknown

from disagg_worker.config import EngineConfig
from disagg_worker.ending import SERVES, leave
from disagg_worker.engine import Engine, EngineError, EngineOverloaded, RequestCancelled, RequestRefused
from disagg_worker.engine.engine import Followers
from disagg_worker.errors import ConfigError
from disagg_worker.group.joining import gather, group_digest
from disagg_worker.group.leader import Leader
from disagg_worker.group.membership import Membership, pod_name
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.model.gguf import ModelError
from disagg_worker.serve.events import publisher_of
from disagg_worker.serve.registering import registered_or_ended
from disagg_worker.serve.request import parse_request
from disagg_worker.serve.roles import Aggregated, Chunk, Decode, Prefill, Role
from disagg_worker.transfer import Reader, Source, TransferError, open_link
from disagg_worker.transfer.agent import AgentThread
from disagg_worker.transfer.source import GRACE_SECONDS

RoleName = Literal["prefill", "decode", "aggregated"]
COMPONENT: dict[RoleName, str] = {"prefill": "prefill", "decode": "backend", "aggregated": "backend"}
MODE: dict[RoleName, DisaggregationMode] = {
    "prefill": DisaggregationMode.PREFILL,
    "decode": DisaggregationMode.DECODE,
    "aggregated": DisaggregationMode.AGGREGATED,
}
DRAIN_SECONDS = 600.0
FAIL_SECONDS = 2.0
ENDPOINT = "generate"

log = logging.getLogger(__name__)


@dataclass
class Parts:
    """What a running worker is made of.

    Attributes:
        engine: Computes.
        role: Serves.
        thread: Of the NIXL agent; None in the aggregated role, which transfers nothing.
        closer: What transfers.
        group: The other ranks of a model instance on several nodes.
    """

    engine: Engine
    role: Role
    thread: AgentThread | None
    closer: Source | Reader | None
    group: Leader | None = None


class DisaggEngine(LLMEngine):
    """One worker in one role.

    Args:
        role: What it does with requests.
        config: Engine configuration.
        parts: Engine and transfer, not started yet.
        metrics: What it counts.
        metrics_port: Port of /metrics.
    """

    def __init__(
        self, role: RoleName, config: EngineConfig, parts: Parts, metrics: WorkerMetrics, metrics_port: int
    ) -> None:
        self._role_name, self._config, self._metrics_port = role, config, metrics_port
        self._parts: Parts | None = parts
        self._metrics = metrics
        self._server: WSGIServer | None = None
        self._registering: asyncio.Task[None] | None = None
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def from_args(cls, argv: list[str] | None = None) -> tuple[LLMEngine, WorkerConfig]:
        """Not used: the command line is the worker's own."""
        raise NotImplementedError("start the worker with `disagg-worker serve`")

    async def start(self, worker_id: int) -> Registration:
        """Start computing and answering /metrics, and say what to register."""
        del worker_id
        SERVES.set()
        config, parts = self._config, self._require_parts()
        engine = parts.engine
        if parts.group:
            parts.group.on_lost, parts.group.on_leaving = self._lose_group, _ask_to_end
            await parts.group.start()
        await engine.start()
        self._server = self._metrics.serve(self._metrics_port)
        log.info(
            "engine started on %s: %d KV blocks, %d threads",
            config.compute.device,
            engine.pool.num_blocks,
            engine.threads,
        )
        port = int(os.environ.get("DYN_SYSTEM_PORT") or "0")
        if port > 0:
            self._registering = asyncio.create_task(registered_or_ended(port, ENDPOINT))
        return Registration(
            model=str(config.model.path),
            served_model_name=config.model.name,
            llm=LlmRegistration(
                context_length=engine.max_sequence_tokens,
                kv_cache_block_size=config.kv_cache.block_tokens,
                total_kv_blocks=engine.pool.num_blocks,
                max_num_seqs=config.scheduler.max_batch_size,
                max_num_batched_tokens=config.scheduler.prefill_chunk_tokens,
            ),
        )

    async def kv_event_sources(self) -> list[KvEventSource]:
        """Tell Dynamo's router which prefixes are in blocks here, if prompts share any."""
        if not self._config.kv_cache.enable_block_reuse:
            return []
        pool = self._require_parts().engine.pool

        def publish(publisher: KvEventPublisher) -> None:
            pool.on_event = publisher_of(publisher, pool.layout.block_tokens)

        return [PushSource(on_ready=publish)]

    async def generate(self, request: Mapping[str, Any], context: Any) -> AsyncGenerator[Any, None]:
        """Serve one request, or Dynamo's health canary without any peer."""
        if is_probe(request):
            yield self._probe_answer(request)
            return
        outcome = "error"
        self._running += 1
        self._idle.clear()
        try:
            async for chunk in self._serve(request, str(context.id())):
                outcome = _outcome(chunk, outcome)
                yield chunk
        except DynamoException as error:
            outcome = "cancelled" if isinstance(error, Cancelled) else "error"
            raise
        except (GeneratorExit, asyncio.CancelledError):
            outcome = outcome if outcome == "ok" else "cancelled"
            raise
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
            self._metrics.requests.labels(self._role_name, outcome).inc()

    async def _serve(self, request: Mapping[str, Any], request_id: str) -> AsyncIterator[Chunk]:
        """Serve a request, with errors as the kinds that Dynamo's frontend tells clients."""
        parts = self._require_parts()
        try:
            work = parse_request(request, parts.engine.max_sequence_tokens)
            async for chunk in parts.role.serve(request_id, work, request):
                yield chunk
        except RequestCancelled as error:
            raise Cancelled(str(error)) from None
        except RequestRefused as error:
            raise InvalidArgument(str(error)) from None
        except (TransferError, EngineError) as error:
            log.warning("request %s failed: %s", request_id, error)
            # Of these, clients get 503 (try again) for the first and 500 for the second, without the text.
            passing = isinstance(error, TransferError | EngineOverloaded)
            kind = CannotConnect if passing else Unknown
            raise kind(str(error)) from None

    def _probe_answer(self, request: Mapping[str, Any]) -> Chunk:
        """Answer the canary, unless the compute loop is dead."""
        failure = self._require_parts().engine.failure
        if failure is not None:
            raise Unknown(f"the engine failed: {failure}")
        tokens = list(request.get("token_ids") or [0])[:1]
        counts = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {"token_ids": tokens, "index": 0, "finish_reason": "stop", "completion_usage": counts}

    def _lose_group(self, sentence: str) -> None:
        """End: the group starts anew as a whole."""
        log.error("%s; this worker ends, and the group starts anew", sentence)
        self._ending = asyncio.create_task(self._end_without_group())

    async def _end_without_group(self) -> None:
        """End once running requests have failed, as their next step does."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), FAIL_SECONDS)
        leave(1)

    def _require_parts(self) -> Parts:
        if self._parts is None:
            raise Unknown("the worker is not started")
        return self._parts

    async def abort(self, context: Any) -> None:
        """End a request whose client went away."""
        if self._parts:
            self._parts.engine.cancel(str(context.id()))

    async def is_quiescent(self) -> bool:
        """Whether the memory may go: no request runs and nobody still reads from it."""
        return self._running == 0 and (self._parts is None or self._parts.role.idle)

    async def cleanup(self) -> None:
        """Let running answers end, then stop everything. May be called more than once."""
        if self._registering:
            self._registering.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), DRAIN_SECONDS)
        parts, self._parts = self._parts, None
        if parts:
            parts.engine.pool.on_event = lambda _: None
            await parts.engine.stop()
            if parts.closer:
                await parts.closer.close()
            if parts.thread:
                await asyncio.to_thread(parts.thread.close)
            if parts.group:
                await parts.group.close()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        log.info("worker stopped")

    async def health_check_payload(self) -> dict[str, Any]:
        """Say what Dynamo sends to see whether the worker answers."""
        payload: dict[str, Any] = build_health_check_payload(bos_token_id=1)
        return payload


def build_parts(
    role: RoleName, config: EngineConfig, metrics: WorkerMetrics, membership: Membership | None = None
) -> Parts:
    """Load the model and connect it with what the role needs (seconds).

    Args:
        role: What the worker does with requests.
        config: Engine configuration.
        metrics: What it counts.
        membership: Of the leader of a model instance on several nodes, for whose other ranks is waited.

    Raises:
        ConfigError: The model or the transfer backend cannot be used, or a rank does not come.
    """
    try:
        if membership is None:
            engine, group = Engine.load(config), None
        else:
            engine, group = _load_group(role, config, membership)
    except ModelError as error:
        raise ConfigError(f"model.path: {error}") from None
    return assemble(role, engine, config, metrics, group)


def assemble(
    role: RoleName,
    engine: Engine,
    config: EngineConfig,
    metrics: WorkerMetrics,
    group: Leader | None = None,
) -> Parts:
    """Connect an engine with what the role needs.

    Args:
        role: What the worker does with requests.
        engine: Its engine, not started yet.
        config: What the engine was made of.
        metrics: What it counts.
        group: The other ranks of a model instance on several nodes.

    Raises:
        ConfigError: The transfer backend cannot be used.
    """
    metrics.observe(engine)
    if role == "aggregated":
        return Parts(engine, Aggregated(engine), None, None, group)
    peer = pod_name()
    others = group.ranks if group else ()
    name = f"{peer}-{uuid.uuid4().hex[:8]}"
    link = open_link(name, config.transfer.backend, engine.pool, config.staging)
    seconds, check = config.transfer.timeout_seconds, config.transfer.check
    if role == "prefill":
        source = Source(link, peer, seconds, metrics, others=others, check=check)
        prefill = Prefill(engine, source, config.local_prefill.max_prompt_tokens)
        return Parts(engine, prefill, link.thread, source, group)
    reader = Reader(
        link, engine.reserve, timeout_seconds=seconds, metrics=metrics, others=others, check=check
    )
    return Parts(engine, Decode(engine, reader, metrics), link.thread, reader, group)


def _load_group(role: RoleName, config: EngineConfig, membership: Membership) -> tuple[Engine, Leader]:
    joined: list[Leader] = []

    def join() -> Followers:
        members = gather(membership, group_digest(role, config))
        joined.append(Leader(membership, members, config.compute.step_seconds))
        return joined[0].followers

    engine = Engine.load(config, membership.place, join)
    return engine, joined[0]


def dynamo_config(role: RoleName, config: EngineConfig) -> WorkerConfig:
    """Describe the worker to Dynamo, from the environment that Dynamo's own workers read."""
    environment = os.environ
    return WorkerConfig(
        namespace=get_worker_namespace(),
        component=COMPONENT[role],
        endpoint=ENDPOINT,
        model_name=str(config.model.path),
        served_model_name=config.model.name,
        endpoint_types="chat,completions",
        discovery_backend=environment.get("DYN_DISCOVERY_BACKEND", "etcd"),
        request_plane=environment.get("DYN_REQUEST_PLANE", "tcp"),
        event_plane=environment.get("DYN_EVENT_PLANE") or None,
        response_plane=environment.get("DYN_RESPONSE_PLANE", "tcp"),
        disaggregation_mode=MODE[role],
        metrics_labels=[("model", config.model.name)],
        enable_local_indexer=config.kv_cache.enable_block_reuse,
        enable_kv_routing=config.kv_cache.enable_block_reuse,
    )


def run(
    role: RoleName, config: EngineConfig, metrics_port: int, membership: Membership | None = None
) -> None:
    """Serve until SIGTERM, alone or as the leader of a group.

    Raises:
        ConfigError: The model or the transfer backend cannot be used, or a rank does not come.
    """
    drain = config.transfer.timeout_seconds + GRACE_SECONDS
    os.environ.setdefault("DYN_PREFILL_DRAIN_TIMEOUT_S", f"{drain:g}")
    # Dynamo's own limit (30 s) would cut off long answers; in Kubernetes the pod's grace period is the limit.
    os.environ.setdefault("DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT", f"{DRAIN_SECONDS + drain:.0f}")
    metrics = WorkerMetrics()
    parts = build_parts(role, config, metrics, membership)
    engine = DisaggEngine(role, config, parts, metrics, metrics_port)
    uvloop.run(_serve(engine, dynamo_config(role, config)))


async def _serve(engine: DisaggEngine, config: WorkerConfig) -> None:
    await Worker(engine, config).run()


def _ask_to_end() -> None:
    """A rank is to end, and so the group: requests end first."""
    os.kill(os.getpid(), signal.SIGTERM)


def _outcome(chunk: Chunk, before: str) -> str:
    reason = chunk.get("finish_reason")
    if reason is None:
        return before
    return "cancelled" if reason == "cancelled" else "ok"
