"""Model instances on several nodes: token for token what one process computes, whatever the split.

Real processes share the layers of the real model, and real NIXL moves KV between groups of different sizes.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from disagg_worker.config import load_config
from disagg_worker.engine import SamplingParams
from disagg_worker.group.membership import membership
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.worker import Parts, build_parts
from disagg_worker.transfer import Reader, Ticket
from integration.worker.stack import Stack, free_port, summed

LENGTHS = (1, 2, 3, 15, 16, 17, 31, 33, 47, 64, 90, 130, 200, 300, *range(4, 14))
GENERATED = 5
PREFILLING = str(Path(__file__).with_name("prefilling_process.py"))
Start = Callable[[list[str]], Any]


def prompts() -> list[list[int]]:
    rng = random.Random(20260102)  # noqa: S311 - repeatable, not secret
    return [[rng.randrange(20, 49152) for _ in range(length)] for length in LENGTHS]


@dataclass
class Decoder:
    """A decode worker, whose leader is this process.

    Attributes:
        parts: What it is made of.
        metrics: What its leader counts.
        followers: Ports of the metrics of its other ranks.
    """

    parts: Parts
    metrics: WorkerMetrics
    followers: list[int]

    def read_bytes(self) -> list[float]:
        """KV bytes that each rank has read."""
        own = self.metrics.registry.get_sample_value
        labels = {"backend": "UCX", "transport": "tcp/lo"}
        return [
            own("disagg_kv_read_bytes_total", labels) or 0.0,
            *(metric(port, "disagg_kv_read_bytes_total") for port in self.followers),
        ]

    async def answer(self, ticket: Ticket, tokens: list[int], sampling: SamplingParams) -> list[Any]:
        reader, engine = self.parts.closer, self.parts.engine
        assert isinstance(reader, Reader)
        lease = await reader.read(f"{ticket.lease}-read", ticket, len(tokens))
        outputs = engine.resume(ticket.lease, tokens, lease, ticket.first_token, sampling)
        return [output async for output in outputs]


def metric(port: int, name: str) -> float:
    """Sum the samples of a metric of another process."""
    return summed(httpx.get(f"http://127.0.0.1:{port}/metrics").text, name)


def start_follower(start: Start, role: str, config: Path, port: int) -> int:
    """Start rank 1 of two; returns the port of its metrics."""
    metrics_port = free_port()
    where = ["--nodes", "2", "--node-rank", "1", "--leader", "localhost", "--group-port", str(port)]
    worker = ["-m", "disagg_worker.main", "serve", "--role", role, "--config", str(config)]
    start([*worker, "--metrics-port", str(metrics_port), *where])
    return metrics_port


@pytest.fixture
async def decoders(start_child: Start, engine_yaml: Callable[..., Path]) -> AsyncIterator[dict[int, Decoder]]:
    """Decode workers on one node and on two."""
    config = engine_yaml(transfer={"timeout_seconds": 300}, kv_cache={"memory_mib": 256})
    settings, port = load_config(config), free_port()
    follower = start_follower(start_child, "decode", config, port)
    made: dict[int, Decoder] = {}
    for ranks, followers in ((2, [follower]), (1, [])):
        metrics = WorkerMetrics()
        member = membership(0, ranks, "localhost", port, 200)
        parts = await asyncio.to_thread(build_parts, "decode", settings, metrics, member)
        if parts.group:
            await parts.group.start()
        await parts.engine.start()
        made[ranks] = Decoder(parts, metrics, followers)
    yield made
    for decoder in made.values():
        parts = decoder.parts
        await parts.engine.stop()
        assert parts.closer
        await parts.closer.close()
        if parts.group:
            await parts.group.close()
        assert parts.thread
        await asyncio.to_thread(parts.thread.close)


@pytest.mark.timeout(900)
async def test_every_split_of_both_roles_gives_the_tokens_of_one_process(
    decoders: dict[int, Decoder], start_child: Start, engine_yaml: Callable[..., Path]
) -> None:
    config = engine_yaml(transfer={"timeout_seconds": 300}, kv_cache={"memory_mib": 256})
    port = free_port()
    served = start_follower(start_child, "prefill", config, port)
    prefillers = {1: start_child([PREFILLING, str(config)])}
    prefillers[2] = start_child([PREFILLING, str(config), "2", str(port)])
    work, sampling = prompts(), SamplingParams(max_tokens=GENERATED)
    alone = decoders[1].parts.engine

    async def compare(prefill: int, decode: int) -> None:
        """Have all prompts computed by these, and compare with what one process computes."""
        child, before = prefillers[prefill], decoders[decode].read_bytes()
        for number, tokens in enumerate(work):
            child.tell({"id": str(number), "tokens": tokens})
        async with asyncio.TaskGroup() as group:
            for _ in work:
                told = await asyncio.to_thread(child.hear)
                number, ticket = int(told["id"]), Ticket.parse(told["ticket"])
                assert len(ticket.parts) == prefill
                group.create_task(
                    same(decoders[decode], ticket, work[number], f"{prefill}-{decode}-{number}")
                )
        blocks = sum(alone.layout.blocks_for(len(tokens)) for tokens in work)
        moved = [now - then for now, then in zip(decoders[decode].read_bytes(), before, strict=True)]
        assert moved == [blocks * alone.layout.block_bytes / decode] * decode

    async def same(decoder: Decoder, ticket: Ticket, tokens: list[int], name: str) -> None:
        apart = await decoder.answer(ticket, tokens, sampling)
        assert apart == whole[name.rsplit("-", 1)[1]], f"{name}: prompt of {len(tokens)} tokens"

    whole = {
        str(number): [output async for output in alone.generate(f"whole-{number}", tokens, sampling)]
        for number, tokens in enumerate(work)
    }
    for prefill, decode in ((1, 2), (2, 1), (2, 2)):
        await compare(prefill, decode)
    for decoder in decoders.values():
        assert decoder.parts.engine.pool.counts().active == 0
    blocks = sum(alone.layout.blocks_for(len(tokens)) for tokens in work)
    halves = blocks * alone.layout.block_bytes  # two times the half that the follower has
    until = asyncio.get_running_loop().time() + 60
    while (counted := metric(served, "disagg_kv_served_bytes_total")) != halves:
        assert asyncio.get_running_loop().time() < until, f"{counted} bytes counted, read were {halves}"
        await asyncio.sleep(0.1)


def start_group(directory: Path, config: Path) -> Stack:
    """Start two ranks as Kubernetes does, and wait until both are ready."""
    stack, port = Stack(directory), free_port()
    for rank in (0, 1):
        stack.start_worker(
            f"rank-{rank}",
            "aggregated",
            config,
            DISAGG_NODES="2",
            DISAGG_NODE_RANK=str(rank),
            DISAGG_LEADER="localhost",
            DISAGG_GROUP_PORT=str(port),
        )
    for name, health_port in stack.health_ports.items():
        stack.wait_until(f"{name} is ready", partial(healthy, health_port))
    return stack


def healthy(port: int) -> bool:
    """Ask what the pod's readiness probe asks."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "told", "codes"),
    [
        pytest.param(signal.SIGKILL, ["rank-0"], [-signal.SIGKILL, 1], id="the leader dies"),
        pytest.param(signal.SIGTERM, ["rank-1"], [0, 0], id="a follower is asked to end"),
        pytest.param(signal.SIGTERM, ["rank-0", "rank-1"], [0, 0], id="all are asked to end"),
    ],
)
def test_a_group_ends_as_a_whole(
    tmp_path: Path,
    engine_yaml: Callable[..., Path],
    number: signal.Signals,
    told: list[str],
    codes: list[int],
) -> None:
    stack = start_group(tmp_path, engine_yaml(kv_cache={"memory_mib": 8}))
    try:
        for name in told:
            stack.processes[name].send_signal(number)
        ends = [stack.processes[f"rank-{rank}"].wait(timeout=200) for rank in (0, 1)]
        assert ends == codes, stack.log("rank-0")[-2000:] + stack.log("rank-1")[-2000:]
    finally:
        stack.end()
