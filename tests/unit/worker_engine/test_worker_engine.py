"""The engine through its asyncio API: same tokens however it runs, and no block lost."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from disagg_worker.config import parse_config
from disagg_worker.engine import (
    Engine,
    EngineOverloaded,
    EngineStopped,
    RequestCancelled,
    RequestRefused,
    SamplingParams,
    TokenOutput,
    loop,
)
from disagg_worker.engine.stage import Stage, run_through
from disagg_worker.engine.step import Pass
from disagg_worker.errors import ConfigError
from disagg_worker.kv import KVLease
from disagg_worker.model.llama import Llama
from unit.worker_engine.tiny import SPEC, naive_logits, prompt, tiny_engine, tiny_weights

WAIT_SECONDS = 20
GREEDY = SamplingParams(max_tokens=24, ignore_eos=True)
SEEDED = SamplingParams(max_tokens=24, ignore_eos=True, temperature=1.5, top_p=0.95, seed=11)


@contextlib.asynccontextmanager
async def running(**sizes: int) -> AsyncIterator[Engine]:
    """A started tiny engine; when it ends well, all its blocks must be free again."""
    engine = tiny_engine(reuse=False, **sizes)
    await engine.start()
    try:
        yield engine
        for _ in range(100):
            if engine.pool.free_blocks == engine.pool.num_blocks:
                break
            await asyncio.sleep(0.01)
        assert engine.pool.counts() == (engine.pool.num_blocks, 0, 0)
    finally:
        await engine.stop()


async def generate(
    engine: Engine, name: str, tokens: Sequence[int], params: SamplingParams
) -> list[int | None]:
    return [output.token async for output in engine.generate(name, tokens, params)]


def copy_blocks(source: Engine, lease: KVLease, target: Engine, into: KVLease) -> None:
    """What the KV transfer does, without the network."""
    target.pool.array[list(into.blocks)] = source.pool.array[list(lease.blocks)]


async def disaggregated(
    front: Engine, back: Engine, name: str, tokens: Sequence[int], params: SamplingParams
) -> list[int | None]:
    prefilled = await front.prefill(name, tokens, params)
    lease = await back.reserve(name, len(tokens))
    copy_blocks(front, prefilled.lease, back, lease)
    prefilled.lease.release()
    return [output.token async for output in back.resume(name, tokens, lease, prefilled.first_token, params)]


async def test_greedy_tokens_are_those_of_naive_loops() -> None:
    tokens = prompt(9)
    async with running() as engine:
        generated = await generate(engine, "a", tokens, SamplingParams(max_tokens=6, ignore_eos=True))
    for token in generated:
        assert token == int(np.argmax(naive_logits(SPEC, tiny_weights(), tokens)[-1]))
        tokens.append(token)


@pytest.mark.parametrize("params", [GREEDY, SEEDED], ids=["greedy", "seeded"])
async def test_a_batch_gives_what_each_alone_gives(params: SamplingParams) -> None:
    prompts = [prompt(length, length) for length in (1, 2, 7, 8, 9, 30, 16, 5, 23)]
    async with running() as engine:
        alone = [await generate(engine, "x", tokens, params) for tokens in prompts]
        jobs = [generate(engine, f"r{i}", tokens, params) for i, tokens in enumerate(prompts)]
        assert await asyncio.gather(*jobs) == alone
    assert len({tuple(tokens) for tokens in alone}) == len(prompts)


@pytest.mark.parametrize("params", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("block_tokens", [1, 5, 16])
async def test_disaggregated_equals_monolithic(params: SamplingParams, block_tokens: int) -> None:
    prompts = [prompt(length, length) for length in (1, 4, 5, 8, 17, 40)]
    async with (
        running(block_tokens=block_tokens) as mono,
        running(block_tokens=block_tokens) as front,
        running(block_tokens=block_tokens) as back,
    ):
        assert front.layout == back.layout
        for tokens in prompts:
            expected = await generate(mono, "m", tokens, params)
            assert await disaggregated(front, back, "d", tokens, params) == expected
        jobs = [disaggregated(front, back, f"d{i}", tokens, params) for i, tokens in enumerate(prompts)]
        expected_all = [await generate(mono, "m", tokens, params) for tokens in prompts]
        assert await asyncio.gather(*jobs) == expected_all


@pytest.mark.parametrize("params", [GREEDY, SEEDED], ids=["greedy", "seeded"])
async def test_preemption_changes_no_token(params: SamplingParams) -> None:
    long = SamplingParams(**{**vars(params), "max_tokens": 70})
    prompts = [prompt(length, length) for length in (20, 21, 22, 23)]
    async with running() as engine:
        alone = [await generate(engine, "x", tokens, long) for tokens in prompts]
        assert engine.stats().preemptions == 0
        jobs = [generate(engine, f"r{i}", tokens, long) for i, tokens in enumerate(prompts)]
        assert await asyncio.gather(*jobs) == alone
        assert engine.stats().preemptions > 0


async def test_preempted_resumed_requests_change_no_token() -> None:
    long = SamplingParams(max_tokens=70, ignore_eos=True)
    prompts = [prompt(length, length) for length in (20, 21, 22, 23)]
    async with running() as mono, running() as front, running() as back:
        alone = [await generate(mono, "x", tokens, long) for tokens in prompts]
        jobs = [disaggregated(front, back, f"r{i}", tokens, long) for i, tokens in enumerate(prompts)]
        assert await asyncio.gather(*jobs) == alone
        assert back.stats().preemptions > 0


async def test_other_seeds_give_other_tokens() -> None:
    async with running() as engine:
        tokens = prompt(5)
        first = await generate(engine, "a", tokens, SEEDED)
        again = await generate(engine, "a", tokens, SEEDED)
        other = await generate(engine, "a", tokens, SamplingParams(**{**vars(SEEDED), "seed": 12}))
        unseeded = SamplingParams(**{**vars(SEEDED), "seed": None, "temperature": 5.0})
        assert first == again
        assert first != other
        assert await generate(engine, "a", tokens, unseeded) != await generate(engine, "a", tokens, unseeded)


async def test_stop_tokens_end_generation_but_not_before_min_tokens() -> None:
    async with running() as engine:
        free = await generate(engine, "a", prompt(6), GREEDY)
        stop = free[3]
        assert stop is not None
        where = free.index(stop)
        params = SamplingParams(max_tokens=24, ignore_eos=True, stop_token_ids=frozenset({stop}))
        outputs = [output async for output in engine.generate("b", prompt(6), params)]
        assert [output.token for output in outputs] == free[: where + 1]
        assert [output.finish_reason for output in outputs] == [None] * where + ["stop"]
        later = SamplingParams(**{**vars(params), "min_tokens": 10})
        tokens = await generate(engine, "c", prompt(6), later)
        assert len(tokens) >= 10
        assert stop not in tokens[:10]


async def test_end_of_text_stops_unless_ignored() -> None:
    engine = tiny_engine()
    engine.eos_token_ids = frozenset(range(SPEC.vocab))
    await engine.start()
    assert len(await generate(engine, "a", prompt(6), SamplingParams(max_tokens=5))) == 1
    assert len(await generate(engine, "b", prompt(6), SamplingParams(max_tokens=5, ignore_eos=True))) == 5
    await engine.stop()


async def test_length_is_cut_at_max_tokens_and_at_the_context() -> None:
    async with running(longest=20) as engine:
        short = [
            o async for o in engine.generate("a", prompt(6), SamplingParams(max_tokens=3, ignore_eos=True))
        ]
        full = [
            o async for o in engine.generate("b", prompt(6), SamplingParams(max_tokens=99, ignore_eos=True))
        ]
    assert [o.finish_reason for o in short] == [None, None, "length"]
    assert len(full) == 14
    assert full[-1].finish_reason == "length"


async def test_a_resumed_request_can_end_with_its_first_token() -> None:
    async with running() as engine:
        lease = await engine.reserve("r", 4)
        params = SamplingParams(max_tokens=1)
        assert [o async for o in engine.resume("r", prompt(4), lease, 9, params)] == [
            TokenOutput(9, "length")
        ]


async def test_what_can_never_run_is_refused_at_once() -> None:
    async with running(longest=100) as engine:
        with pytest.raises(RequestRefused, match="the prompt has 100 tokens, this worker takes 99 at most"):
            engine.generate("a", prompt(100), GREEDY)
        with pytest.raises(RequestRefused, match="the prompt is empty"):
            await engine.prefill("a", [], GREEDY)
        with pytest.raises(RequestRefused, match="ids must be from 0 to 60"):
            engine.generate("a", [3, SPEC.vocab], GREEDY)
        with pytest.raises(RequestRefused, match="takes 99 at most"):
            await engine.reserve("a", 1000)
        stream = engine.generate("a", prompt(3), GREEDY)
        with pytest.raises(RequestRefused, match="request_id: a is in use"):
            engine.generate("a", prompt(3), GREEDY)
        assert len([output async for output in stream]) == 24


async def test_a_prompt_longer_than_the_pool_is_refused() -> None:
    async with running(longest=256, block_tokens=100) as engine:
        assert engine.pool.capacity_tokens == 200
        with pytest.raises(RequestRefused, match="takes 200 at most"):
            engine.generate("a", prompt(201), GREEDY)


async def test_more_than_may_wait_are_refused_and_told_why() -> None:
    async with running(longest=128, waiting=2) as engine:
        held = [await engine.prefill(f"held{n}", prompt(100), GREEDY) for n in range(2)]
        waiting = [asyncio.create_task(engine.prefill(f"w{n}", prompt(100), GREEDY)) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(EngineOverloaded, match=r"2 requests wait .* 50 held until decode has read them"):
            await engine.prefill("one-too-many", prompt(100), GREEDY)
        for each in held:
            each.lease.release()
        for got in await asyncio.gather(*waiting):
            got.lease.release()
        (await engine.prefill("again", prompt(100), GREEDY)).lease.release()


async def test_a_refused_resume_gives_its_lease_back() -> None:
    async with running() as engine:
        lease = await engine.reserve("r", 4)
        with pytest.raises(RequestRefused, match="its lease holds 4 positions"):
            engine.resume("r", prompt(5), lease, 9, GREEDY)
        assert lease.released


async def test_a_prefill_lease_is_held_until_released() -> None:
    async with running() as engine:
        prefilled = await engine.prefill("p", prompt(10), GREEDY)
        assert prefilled.lease.tokens == 10
        assert engine.pool.counts().held == len(prefilled.lease.blocks) == 3
        await generate(engine, "other", prompt(20), GREEDY)
        assert not prefilled.lease.released
        prefilled.lease.release()


async def test_a_reservation_waits_for_blocks() -> None:
    async with running() as engine:
        first = await engine.reserve("a", 120)
        second = await engine.reserve("b", 120)
        waiting = asyncio.create_task(engine.reserve("c", 100))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        first.release()
        third = await waiting
        second.release()
        third.release()


async def test_cancel_ends_a_request_wherever_it_is() -> None:
    async with running(batch=1) as engine:
        blocker = await engine.reserve("blocker", 120)
        decoding = engine.generate("decoding", prompt(3), SamplingParams(max_tokens=100, ignore_eos=True))
        await anext(decoding)
        queued = engine.generate("queued", prompt(100), GREEDY)
        prefill = asyncio.create_task(engine.prefill("prefill", prompt(100), GREEDY))
        reserve = asyncio.create_task(engine.reserve("reserve", 100))
        await asyncio.sleep(0)
        for name in ("decoding", "queued", "prefill", "reserve", "unknown"):
            engine.cancel(name)
        for stream in (decoding, queued):
            outputs = [output async for output in stream]
            assert outputs[-1] == TokenOutput(None, "cancelled")
        for task in (prefill, reserve):
            with pytest.raises(RequestCancelled):
                await task
        blocker.release()


async def test_a_dropped_stream_cancels_its_request() -> None:
    async with running() as engine:
        endless = SamplingParams(max_tokens=120, ignore_eos=True)
        stream = engine.generate("dropped", prompt(3), endless)
        await anext(stream)
        del stream
        async for _ in engine.generate("dropped", prompt(3), endless):
            break


async def test_a_cancelled_task_frees_what_it_waited_for() -> None:
    async with running() as engine:
        tasks = [asyncio.create_task(engine.prefill(f"p{i}", prompt(40), GREEDY)) for i in range(5)]
        await asyncio.sleep(0.002)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, BaseException):
                result.lease.release()


async def test_random_cancellations_lose_no_block() -> None:
    rng = np.random.default_rng(5)

    async def some(engine: Engine, i: int) -> None:
        length, stop_after = int(rng.integers(1, 60)), int(rng.integers(0, 40))
        stream = engine.generate(f"r{i}", prompt(length, i), SamplingParams(max_tokens=60, ignore_eos=True))
        for _ in range(stop_after):
            await anext(stream)
        engine.cancel(f"r{i}")
        async for _ in stream:
            pass

    async with running() as engine:
        await asyncio.gather(*(some(engine, i) for i in range(40)))


async def test_stop_ends_requests_as_cancelled_and_refuses_new_ones() -> None:
    engine = tiny_engine()
    with pytest.raises(EngineStopped, match="not started"):
        engine.generate("early", prompt(3), GREEDY)
    await engine.start()
    stream = engine.generate("a", prompt(3), SamplingParams(max_tokens=120, ignore_eos=True))
    await anext(stream)
    await engine.stop()
    assert [output async for output in stream][-1] == TokenOutput(None, "cancelled")
    with pytest.raises(EngineStopped, match="not running"):
        engine.generate("late", prompt(3), GREEDY)
    assert engine.pool.counts() == (engine.pool.num_blocks, 0, 0)


async def test_a_failure_of_the_compute_loop_reaches_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()
    await engine.start()
    monkeypatch.setattr(Llama, "decode", lambda *_: 1 / 0)
    stream = engine.generate("a", prompt(3), GREEDY)
    await anext(stream)
    with pytest.raises(EngineStopped, match="the compute loop failed: division by zero"):
        await anext(stream)
    assert isinstance(engine.failure, ZeroDivisionError)
    with pytest.raises(EngineStopped):
        await engine.prefill("b", prompt(3), GREEDY)
    assert engine.pool.counts() == (engine.pool.num_blocks, 0, 0)
    await engine.stop()


async def test_statistics_and_step_times() -> None:
    async with running() as engine:
        steps: list[float] = []
        engine.on_step = steps.append
        await generate(engine, "a", prompt(20), GREEDY)
        stats = engine.stats()
        assert (stats.running, stats.waiting) == (0, 0)
        assert (stats.prompt_tokens, stats.generated_tokens) == (20, 24)
        assert len(steps) >= 3 + 23 - 1
        assert all(seconds > 0 for seconds in steps)


def test_weights_decide_the_fingerprint() -> None:
    one, two = tiny_engine(), tiny_engine()
    assert one.layout == two.layout
    changed = tiny_weights()
    changed.layers[1].down[0, 0] += 1e-3
    config = parse_config({"model": {"path": "x", "name": "x"}})
    assert Engine(config, SPEC, changed).layout.model_fingerprint != one.layout.model_fingerprint


def test_a_pool_without_a_block_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"kv_cache.memory_mib: 1 MiB hold no block .* write at least 2"):
        tiny_engine(block_tokens=512, longest=1024)


async def test_what_needs_no_step_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks to read into, and the first token of what was read, come before the next step is computed."""
    begun, may_compute = threading.Semaphore(0), threading.Semaphore(0)

    def held(stages: Sequence[Stage], work: Pass) -> Sequence[int]:
        begun.release()
        may_compute.acquire()
        return run_through(stages, work)

    async def next_step() -> None:
        may_compute.release()
        await asyncio.to_thread(begun.acquire)

    monkeypatch.setattr(loop, "run_through", held)
    async with running() as engine:
        try:
            other = asyncio.create_task(generate(engine, "other", prompt(4), GREEDY))
            await asyncio.to_thread(begun.acquire)
            reserving = asyncio.create_task(engine.reserve("ours", 4))
            await asyncio.sleep(0)
            await next_step()
            lease = await asyncio.wait_for(reserving, WAIT_SECONDS)
            ours = engine.resume("ours", prompt(4), lease, 7, GREEDY)
            await next_step()
            assert (await asyncio.wait_for(anext(ours), WAIT_SECONDS)).token == 7
        finally:
            may_compute.release(1000)
        assert len([output async for output in ours]) == GREEDY.max_tokens - 1
        assert len(await other) == GREEDY.max_tokens
