"""Prompts that share their beginning: it is computed once, and the tokens are the same, bit for bit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np

from disagg_worker.engine import Engine, SamplingParams
from unit.worker_engine.tiny import prompt, tiny_engine

GREEDY = SamplingParams(max_tokens=12, ignore_eos=True)
SEEDED = SamplingParams(max_tokens=12, ignore_eos=True, temperature=1.5, seed=7)
COMMON = prompt(40, 1)


@contextlib.asynccontextmanager
async def running(*, reuse: bool = True, mib: int = 1, block_tokens: int = 4) -> AsyncIterator[Engine]:
    engine = tiny_engine(reuse=reuse, mib=mib, block_tokens=block_tokens)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def answer(
    engine: Engine, name: str, tokens: Sequence[int], params: SamplingParams
) -> list[int | None]:
    return [output.token async for output in engine.generate(name, tokens, params)]


async def test_a_common_beginning_is_computed_once() -> None:
    async with running() as engine:
        for name in ("a", "b"):
            await answer(engine, name, [*COMMON, *prompt(5, ord(name))], GREEDY)
        stats = engine.stats()
        assert (stats.prompt_tokens, stats.reused_tokens) == (45 + 5, 40)


async def test_without_reuse_nothing_is_remembered() -> None:
    async with running(reuse=False) as engine:
        for name in ("a", "b"):
            await answer(engine, name, COMMON, GREEDY)
        assert (engine.stats().prompt_tokens, engine.stats().reused_tokens) == (80, 0)
        assert engine.pool.remembered_blocks == 0


async def test_shared_blocks_change_no_token_whatever_else_runs() -> None:
    """Many prompts with common beginnings at once, in a pool too small for all: some are preempted."""
    rng = np.random.default_rng(3)
    beginnings = [prompt(30, seed) for seed in (1, 2)]
    asked = []
    for i in range(40):
        common = beginnings[int(rng.integers(2))][: int(rng.integers(1, 31))]
        asked.append(([*common, *prompt(int(rng.integers(1, 30)), i)], (GREEDY, SEEDED)[i % 2]))
    async with running(reuse=False) as engine:
        alone = [await answer(engine, f"r{i}", *each) for i, each in enumerate(asked)]
    async with running() as engine:
        together = await asyncio.gather(*(answer(engine, f"r{i}", *each) for i, each in enumerate(asked)))
        assert engine.stats().reused_tokens > 100
    assert together == alone


async def test_chunks_that_end_within_a_block_are_reused_where_both_end() -> None:
    async with running(reuse=False, block_tokens=3) as engine:
        alone = await answer(engine, "a", prompt(60, 4), GREEDY)
    async with running(block_tokens=3) as engine:
        assert [await answer(engine, name, prompt(60, 4), GREEDY) for name in "ab"] == [alone, alone]
        assert engine.stats().reused_tokens == 48


async def test_decode_remembers_what_it_read_and_computes_the_rest_itself() -> None:
    tokens, longer = [*COMMON, 5], [*COMMON, *prompt(9, 8)]
    async with running(reuse=False) as plain:
        expected = await answer(plain, "a", longer, GREEDY)
    async with running() as front, running() as back:
        prefilled = await front.prefill("a", tokens, GREEDY)
        lease = await back.reserve("a", len(tokens))
        back.pool.array[list(lease.blocks)] = front.pool.array[list(prefilled.lease.blocks)]
        prefilled.lease.release()
        async for _ in back.resume("a", tokens, lease, prefilled.first_token, GREEDY):
            pass
        assert await answer(back, "b", longer, GREEDY) == expected
        assert (back.stats().prompt_tokens, back.stats().reused_tokens) == (9, 40)
