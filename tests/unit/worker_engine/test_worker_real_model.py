"""SmolLM2-135M-Instruct itself: it says something sensible, and the same wherever its prompt was computed."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from bench.engine.weights import model_gguf
from disagg_worker.config import EngineConfig, parse_config
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.model.gguf import ModelError, halves_from_pairs, read_gguf
from disagg_worker.model.spec import LlamaSpec
from disagg_worker.model.weights import LlamaWeights

# "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
QUESTION = [1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198]
ANSWER = [504, 3575, 282, 4649, 314, 7042, 30, 2]  # "The capital of France is Paris.<|im_end|>"

Model = tuple[LlamaSpec, LlamaWeights]


@pytest.fixture(scope="module")
def model() -> Model:
    return read_gguf(model_gguf())


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    (tmp_path / "model.gguf").symlink_to(model_gguf())
    return parse_config({"model": {"path": str(tmp_path), "name": "smollm2"}, "kv_cache": {"memory_mib": 64}})


async def test_a_loaded_engine_answers_a_question(config: EngineConfig) -> None:
    engine = Engine.load(config)
    await engine.start()
    answer = [o async for o in engine.generate("a", QUESTION, SamplingParams(max_tokens=20))]
    await engine.stop()
    assert [output.token for output in answer] == ANSWER
    assert answer[-1].finish_reason == "stop"


async def test_disaggregated_equals_monolithic(config: EngineConfig, model: Model) -> None:
    params = SamplingParams(max_tokens=8, ignore_eos=True)
    rng = np.random.default_rng(3)
    prompts = [[int(t) for t in rng.integers(100, 40_000, length)] for length in (1, 16, 17, 140)]
    mono, front, back = (Engine(config, *model) for _ in range(3))
    for engine in (mono, front, back):
        await engine.start()

    async def disaggregated(name: str, tokens: list[int]) -> list[int | None]:
        prefilled = await front.prefill(name, tokens, params)
        lease = await back.reserve(name, len(tokens))
        back.pool.array[list(lease.blocks)] = front.pool.array[list(prefilled.lease.blocks)]
        prefilled.lease.release()
        return [o.token async for o in back.resume(name, tokens, lease, prefilled.first_token, params)]

    together = await asyncio.gather(*(disaggregated(f"r{i}", tokens) for i, tokens in enumerate(prompts)))
    alone = [[o.token async for o in mono.generate("m", tokens, params)] for tokens in prompts]
    assert together == alone
    for engine in (mono, front, back):
        assert engine.pool.counts().free == engine.pool.num_blocks
        await engine.stop()


def test_the_file_says_what_the_model_is(model: Model) -> None:
    spec, weights = model
    assert (spec.layers, spec.heads, spec.kv_heads, spec.head_dim) == (30, 9, 3, 64)
    assert spec.rope_theta == 100_000.0
    assert spec.eos_token_ids == {2}
    assert weights.unembedding is weights.embedding
    assert weights.nbytes == 4 * 134_515_008


def test_rotary_pairs_become_halves() -> None:
    rows = np.arange(2 * 6, dtype=np.float32).reshape(12, 1)
    assert halves_from_pairs(rows, heads=2)[:, 0].tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


def test_files_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file; the model directory must hold model\.gguf"):
        read_gguf(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(b"something else, and long enough to be looked at")
    with pytest.raises(ModelError, match="is not a usable GGUF file"):
        read_gguf(tmp_path / "model.gguf")
