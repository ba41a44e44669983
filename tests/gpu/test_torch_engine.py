"""The engine on a GPU beside the engine on the CPU, with SmolLM2-135M-Instruct's weights in float32.

Logits, whose standard deviation is about 7, may differ by 0.002, as they may from llama.cpp's. Greedy tokens
must be the same where the CPU's best logit leads by more than twice that; where it leads by less, neither is
wrong.
"""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.engine.weights import model_gguf
from disagg_worker.config import EngineConfig, parse_config
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.engine.engine import Followers
from disagg_worker.engine.stage import local_stage
from disagg_worker.kv import BlockPool, KVLayout
from disagg_worker.layers import Place
from disagg_worker.model.gguf import read_gguf
from disagg_worker.model.kernels import CpuKernels, Kernels
from disagg_worker.model.llama import Llama
from disagg_worker.model.segment import Segment
from disagg_worker.model.spec import LlamaSpec
from disagg_worker.model.torch_kernels import TorchKernels
from disagg_worker.model.weights import LlamaWeights, placed
from unit.worker_engine.test_worker_real_model import ANSWER, QUESTION
from unit.worker_engine.tiny import parted

TOLERANCE = 0.002
CHUNK = 512
LENGTHS = (1, 5, 16, 17, 140, 511, 700, 1500)
GREEDY = SamplingParams(max_tokens=32, ignore_eos=True)

Model = tuple[LlamaSpec, LlamaWeights]
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def model() -> Model:
    return read_gguf(model_gguf())


@pytest.fixture(scope="module")
def config() -> EngineConfig:
    return parse_config({"model": {"path": "unused", "name": "smollm2"}, "kv_cache": {"memory_mib": 512}})


def prompts() -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [QUESTION, *([int(t) for t in rng.integers(100, 40_000, length)] for length in LENGTHS)]


def llama(model: Model, kernels: Kernels) -> Llama:
    spec, weights = model
    layout = KVLayout(spec.layers, spec.kv_heads, spec.head_dim, 16, "float32", "")
    pool = BlockPool(layout, 128, allocate=kernels.pool)
    return Llama(spec, placed(weights, kernels.array), pool.array, kernels, 2048)


def logits(of: Llama, kernels: Kernels, tokens: Sequence[int], decoded: int) -> NDArray[np.float32]:
    """Logits at the last positions: `decoded` of them computed one by one, and up to 64 of prefill before."""
    blocks, prompt = tuple(range(127, -1, -1)), len(tokens) - decoded
    found = []
    for start in range(0, prompt, CHUNK):
        hidden = of.prefill(Segment(tokens[start : min(start + CHUNK, prompt)], start, blocks))
        found.append(kernels.host(of.logits(hidden[-64:, :])).copy())
    for position in range(prompt, len(tokens)):
        hidden = of.decode([Segment(tokens[position : position + 1], position, blocks)])
        found.append(kernels.host(of.logits(hidden)).copy())
    return np.concatenate(found)


def test_logits_are_the_cpus_within_the_tolerance(model: Model, kernels: TorchKernels) -> None:
    here, there, cpu = llama(model, CpuKernels()), llama(model, kernels), CpuKernels()
    largest = 0.0
    for tokens in prompts():
        expected = logits(here, cpu, tokens, decoded=min(4, len(tokens) - 1))
        found = logits(there, kernels, tokens, decoded=min(4, len(tokens) - 1))
        largest = max(largest, float(np.abs(found - expected).max()))
    print(f"largest difference of a logit: {largest:.6f}")
    assert largest <= TOLERANCE


async def generated(engine: Engine, *, together: bool, params: SamplingParams = GREEDY) -> list[list[int]]:
    async def one(name: str, tokens: list[int]) -> list[int]:
        return [o.token async for o in engine.generate(name, tokens, params) if o.token is not None]

    await engine.start()
    if together:
        found = list(await asyncio.gather(*(one(f"r{i}", tokens) for i, tokens in enumerate(prompts()))))
    else:
        found = [await one("alone", tokens) for tokens in prompts()]
    await engine.stop()
    assert engine.failure is None
    return found


async def test_greedy_tokens_are_the_cpus(
    model: Model, config: EngineConfig, request: pytest.FixtureRequest
) -> None:
    expected = await generated(Engine(config, *model), together=True)
    request.getfixturevalue("on_device")
    found = await generated(Engine(config, *model), together=True)
    here, kernels = llama(model, CpuKernels()), CpuKernels()
    ties = 0
    for prompt, ours, theirs in zip(prompts(), found, expected, strict=True):
        if ours == theirs:
            continue
        at = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        last = logits(here, kernels, prompt + theirs[:at], decoded=0)[-1]
        lead = float(last[theirs[at]] - last[ours[at]])
        assert lead <= 2 * TOLERANCE, (
            f"{len(prompt)} tokens: another token than the CPU's, which leads {lead}"
        )
        ties += 1
    print(f"{len(expected)} prompts of {GREEDY.max_tokens} tokens; {ties} differ, from a tie on")
    assert found[0][: len(ANSWER)] == ANSWER
    assert ties <= 1


@pytest.mark.usefixtures("on_device")
async def test_a_batch_gives_what_each_alone_gives(model: Model, config: EngineConfig) -> None:
    seeded = SamplingParams(max_tokens=24, ignore_eos=True, temperature=1.5, top_p=0.95, seed=11)
    for params in (GREEDY, seeded):
        alone = await generated(Engine(config, *model), together=False, params=params)
        assert await generated(Engine(config, *model), together=True, params=params) == alone


@pytest.mark.usefixtures("on_device")
async def test_many_that_come_and_go_give_what_each_alone_gives(model: Model) -> None:
    """Batches of many sizes, while prompts of two chunks are computed between their steps."""
    many = parse_config(
        {
            "model": {"path": "unused", "name": "smollm2"},
            "kv_cache": {"memory_mib": 4096},
            "scheduler": {"max_batch_size": 64},
        }
    )
    rng = np.random.default_rng(5)
    asked = [[int(t) for t in rng.integers(100, 40_000, 1024)] for _ in range(40)]
    engine = Engine(many, *model)
    await engine.start()

    async def one(number: int, prefix: str, wait: float) -> list[int | None]:
        await asyncio.sleep(wait)
        params = SamplingParams(max_tokens=24 + number % 40, ignore_eos=True)
        return [o.token async for o in engine.generate(f"{prefix}{number}", asked[number], params)]

    together = await asyncio.gather(*(one(number, "t", 0.02 * number) for number in range(40)))
    alone = [await one(number, "a", 0) for number in range(0, 40, 4)]
    await engine.stop()
    assert together[::4] == alone


@pytest.mark.usefixtures("on_device")
async def test_disaggregated_equals_monolithic(model: Model, config: EngineConfig) -> None:
    alone = await generated(Engine(config, *model), together=True)
    front, back = Engine(config, *model), Engine(config, *model)
    for engine in (front, back):
        await engine.start()

    async def disaggregated(name: str, tokens: list[int]) -> list[int | None]:
        prefilled = await front.prefill(name, tokens, GREEDY)
        lease = await back.reserve(name, len(tokens))
        back.pool.array[list(lease.blocks)] = front.pool.array[list(prefilled.lease.blocks)]
        prefilled.lease.release()
        return [o.token async for o in back.resume(name, tokens, lease, prefilled.first_token, GREEDY)]

    jobs = (disaggregated(f"r{i}", tokens) for i, tokens in enumerate(prompts()))
    assert await asyncio.gather(*jobs) == alone
    for engine in (front, back):
        await engine.stop()


@pytest.mark.usefixtures("on_device")
async def test_two_ranks_give_what_one_gives(model: Model, config: EngineConfig) -> None:
    spec, weights = model
    alone = await generated(Engine(config, *model), together=True)
    parts = [parted(weights, Place(rank, 2)) for rank in range(2)]
    _, second = local_stage(config, spec, parts[1], Place(1, 2), "")
    assert await generated(Engine(config, spec, parts[0], Followers((second,))), together=True) == alone
