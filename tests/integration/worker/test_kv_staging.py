"""Blocks that differ in size, and KV cache through staging memory, between real processes over real NIXL."""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disagg_worker.config import StagingSection
from disagg_worker.transfer import PeerLost, TransferTimeout
from integration.worker.reading_side import (
    BLOCKS,
    LAYOUT,
    contents,
    eventually,
    offered,
    reading_side,
    start_owner,
)
from unit.worker_engine.tiny import prompt

PEER = str(Path(__file__).with_name("peer_process.py"))
STAGED = StagingSection(use="always", slots=2, slot_mib=1)
LENGTHS = (1, 31, 32, 33, 63, 64, 65, 200, 380)
Start = Callable[[list[str]], Any]


def positions(pool: Any, lease: Any, tokens: int) -> np.ndarray:
    """The number that each position of a prompt is filled with; fails if it holds different numbers."""
    held = pool.array[list(lease.blocks)].swapaxes(3, 4).swapaxes(1, 3)
    held = held.reshape(len(lease.blocks) * pool.layout.block_tokens, -1)[:tokens]
    assert np.all(held == held[:, :1])
    numbers: np.ndarray = held[:, 0]
    return numbers


@pytest.mark.parametrize("size", [8, 12, 32])
@pytest.mark.parametrize("use", ["always", "never"])
async def test_blocks_of_another_size_are_read(start_child: Start, size: int, use: Any) -> None:
    peer = start_owner(start_child, replace(LAYOUT, block_tokens=size))
    async with reading_side(STAGED.model_copy(update={"use": use})) as here:
        ticket = offered(peer, 333)
        lease = await here.reader.read("r", ticket, 333)
        expected = [ticket.blocks[position // size] + 1 for position in range(333)]
        assert positions(here.pool, lease, 333).tolist() == expected
        mode = {"always": "staged", "never": "direct"}[use]
        read = here.sample("disagg_kv_mode_bytes_total", mode=mode)
        assert read >= 333 * LAYOUT.block_bytes / LAYOUT.block_tokens
        assert [
            sample.value
            for metric in here.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "disagg_kv_read_bytes_total"
        ] == [read]
        await eventually(lambda: peer.ask({"counts": True})["free"] == BLOCKS)
        await eventually(lambda: here.sample("disagg_kv_staging_slots", state="used") == 0)


async def test_an_owner_that_is_killed_frees_blocks_and_staging(start_child: Start) -> None:
    peer = start_owner(start_child)
    async with reading_side(STAGED) as here:
        (await here.reader.read("warm", offered(peer, 16), 16)).release()
        ticket = offered(peer, 3000)
        reading = asyncio.create_task(here.reader.read("r", ticket, 3000))
        # The first pieces have come, and more are on their way.
        await eventually(lambda: here.sample("disagg_kv_staging_slots", state="used") > 0)
        peer.signal(signal.SIGKILL)
        with pytest.raises(PeerLost, match="peer-0 was lost"):
            await reading
        await eventually(lambda: here.pool.counts().free == BLOCKS)
        await eventually(lambda: here.sample("disagg_kv_staging_slots", state="used") == 0)
        successor = start_owner(start_child)
        fresh = offered(successor, 320)
        lease = await here.reader.read("r2", fresh, 320)
        assert contents(here.pool, lease) == [block + 1 for block in fresh.blocks]


async def test_an_owner_that_hangs_keeps_no_blocks_and_is_read_again(
    start_child: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("disagg_worker.transfer.fetcher.AGAIN_SECONDS", 0.5)
    peer = start_owner(start_child)
    async with reading_side(STAGED) as here:
        (await here.reader.read("warm", offered(peer, 16), 16)).release()
        ticket = offered(peer, 1600).model_copy(update={"expires_at": time.time() + 2})
        peer.signal(signal.SIGSTOP)
        with pytest.raises(TransferTimeout, match="did not arrive"):
            await here.reader.read("r", ticket, 1600)
        # No READ writes to blocks: they are free while the owner still hangs.
        await eventually(lambda: here.pool.counts().free == BLOCKS, 5.0)
        peer.signal(signal.SIGCONT)
        await asyncio.sleep(1.0)
        again = offered(peer, 320)
        lease = await here.reader.read("r2", again, 320)
        assert contents(here.pool, lease) == [block + 1 for block in again.blocks]
        await eventually(lambda: here.sample("disagg_kv_staging_slots", state="used") == 0)


def ask(worker: Any, **asked: Any) -> Any:
    return worker.ask({"id": "0", **asked})


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("prefill_tokens", "decode_tokens"), [(32, 64), (64, 32), (4, 4)])
def test_tokens_are_those_of_one_worker(
    start_child: Start, monkeypatch: pytest.MonkeyPatch, prefill_tokens: int, decode_tokens: int
) -> None:
    monkeypatch.setenv("POD_NAME", "prefill-0")
    start = partial(_worker, start_child)
    prefill, decode = start("prefill", prefill_tokens), start("decode", decode_tokens)
    for number, length in enumerate(LENGTHS):
        tokens = prompt(length, seed=number)
        ticket = ask(prefill, tokens=tokens)["ticket"]
        assert len(ticket["blocks"]) == -(-length // prefill_tokens)
        assert ask(decode, tokens=tokens, ticket=ticket) == ask(decode, whole=tokens)
    counts = ask(decode, counts=True)
    assert (counts["reads"], counts["recomputed"]) == ({"ok": len(LENGTHS)}, {})
    assert counts["modes"].keys() == {"staged"}
    assert counts["active"] == counts["slots"]["used"] == 0
    until = time.monotonic() + 30
    while (served := ask(prefill, counts=True))["held"] or served["slots"]["used"]:
        assert time.monotonic() < until, served
        time.sleep(0.1)


def _worker(start_child: Start, role: str, block_tokens: int) -> Any:
    given = ["--timeout", "60", "--block-tokens", str(block_tokens), "--staging", "always"]
    return start_child([PEER, role, *given])
