"""KV cache, parameters and transfer against published figures, and other arithmetic of the project."""

from dataclasses import asdict

import pytest

from bench.link.shapes import MODELS
from disagg_operator.sizing import kv, transfer
from disagg_operator.sizing.assumptions import models
from disagg_operator.sizing.kv import KvType
from disagg_operator.sizing.model import Weights
from disagg_operator.verify.evidence import Model
from disagg_operator.verify.kv import bytes_per_token
from disagg_worker.agent.model import geometry
from unit.sizing.questions import (
    DEEPSEEK_R1,
    GPT_OSS_120B,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    QWEN_32B,
    QWEN_235B,
    known,
    question,
)

PUBLISHED = {
    # https://huggingface.co/NAME: all parameters and those that a token uses, in billions.
    LLAMA_8B: (8.03, None),
    LLAMA_70B: (70.6, None),
    LLAMA_405B: (406.0, None),
    QWEN_32B: (32.8, None),
    QWEN_235B: (235.0, 22.0),
    GPT_OSS_120B: (117.0, 5.1),
    DEEPSEEK_R1: (671.0, 37.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_model_card(name: str) -> None:
    shape, (every, active) = known(name), PUBLISHED[name]
    assert shape.parameters / 1e9 == pytest.approx(every, rel=0.005)
    if active is not None:  # cards count the head, and some the embedding, among the active ones
        assert shape.active / 1e9 <= active <= (shape.active + shape.head + shape.embedding) / 1e9 + 0.05


def test_every_model_that_is_built_in_has_a_published_figure() -> None:
    assert set(PUBLISHED) == set(models())


@pytest.mark.parametrize(
    ("name", "kv_type", "size"),
    [
        (LLAMA_70B, KvType.AUTO, 2 * 80 * 8 * 128 * 2),
        (LLAMA_70B, KvType.FP8, 2 * 80 * 8 * 128),
        (LLAMA_70B, KvType.NVFP4, 80 * 8 * 128),
        (QWEN_32B, KvType.AUTO, 262_144),
        (GPT_OSS_120B, KvType.AUTO, 73_728),
        (DEEPSEEK_R1, KvType.AUTO, 70_272),
        (DEEPSEEK_R1, KvType.FP8, 35_136),
    ],
)
def test_bytes_of_a_token(name: str, kv_type: KvType, size: int) -> None:
    assert kv.token_bytes(known(name), kv_type) == size


@pytest.mark.parametrize("name", models())
def test_the_transport_agent_reads_the_same_cache_out_of_the_same_file(name: str) -> None:
    config = {"torch_dtype": "bfloat16", **models()[name]["config"]}
    read = Model(**asdict(geometry(config, "")))
    assert bytes_per_token(read) == kv.token_bytes(known(name))


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        (LLAMA_70B, "Llama-3.3-70B, TP 2"),
        (QWEN_32B, "Qwen3-32B"),
        (GPT_OSS_120B, "gpt-oss-120b"),
        (DEEPSEEK_R1, "DeepSeek-R1 (MLA)"),
    ],
)
def test_the_layouts_that_are_benchmarked_have_the_same_bytes(name: str, measured: str) -> None:
    layout = MODELS[measured]
    assert layout.token_bytes * layout.tp_size == kv.token_bytes(known(name))


@pytest.mark.parametrize(
    ("accesses", "size", "tokens_of_page", "layers_of_rank"),
    [(1490, 2.25 * 2**20, 512, 8), (5958, 589_824, 256, 4), (23_829, 147_456, 256, 1)],
)
def test_kvbench_moves_as_many_bytes(
    accesses: int, size: float, tokens_of_page: int, layers_of_rank: int
) -> None:
    """DeepSeek-R1, 10 prompts of 10,000 tokens, PP 8 and 16: the shapes of NIXL's kvbench."""
    shape = known(DEEPSEEK_R1)
    token = kv.token_bytes(shape, KvType.FP8)
    assert size == tokens_of_page * token / shape.layers * layers_of_rank
    assert accesses * size == pytest.approx(10 * 10_000 * token, rel=1e-3)


def test_dynamo_s_example_of_efa_and_tcp() -> None:
    """Llama-3.1-8B at 8,000 tokens: about 1 s to the first token over EFA, 98 s over TCP under load."""
    prompt = kv.token_bytes(known(LLAMA_8B)) * 8000
    assert prompt == pytest.approx(1.05e9, rel=0.01)
    asked = question(LLAMA_8B, backend="LIBFABRIC")
    assert transfer.seconds(prompt, asked.assumed["fabric_rate"]) < 0.5
    assert 5 < transfer.seconds(prompt, asked.assumed["tcp_rate"]) < 98


def test_kvbench_s_sample_takes_as_long() -> None:
    """4.945 GB from 4 senders in 35.047 ms, at 35.3 GB/s each."""
    assert transfer.seconds(4.945e9, 35.275e9, 4) == pytest.approx(35.047e-3, rel=1e-3)


def test_the_buffer_is_aiconfigurator_s() -> None:
    """It wrote max_tokens_in_buffer 5024 for 4,000 + 500 tokens."""
    assert question().buffer_tokens == 5024


def test_sliding_layers_keep_their_window_only() -> None:
    shape = known(GPT_OSS_120B)
    assert (shape.sliding, shape.window) == (18, 128)
    half = kv.token_bytes(shape) / 2
    assert kv.windowed_bytes(shape, 8000) == half * 8000 + half * 128
    assert kv.windowed_bytes(shape, 100) == kv.token_bytes(shape) * 100


def test_a_latent_is_moved_by_one_gpu_and_heads_by_as_many_as_there_are() -> None:
    assert kv.streams(known(DEEPSEEK_R1), 8, 16) == 1
    assert kv.streams(known(LLAMA_70B), 4, 16) == 4
    assert kv.streams(known(QWEN_235B), 8, 8) == 4


@pytest.mark.parametrize(
    ("name", "weights", "gigabytes"),
    [
        (LLAMA_70B, None, 141),
        (LLAMA_70B, Weights.FP8, 73),  # embedding and head stay in 16 bits
        (GPT_OSS_120B, None, 65),  # the checkpoint's 65 GB: https://huggingface.co/openai/gpt-oss-120b
        (DEEPSEEK_R1, None, 673),
        (DEEPSEEK_R1, Weights.NVFP4, 380),
    ],
)
def test_bytes_of_the_weights(name: str, weights: Weights | None, gigabytes: float) -> None:
    assert known(name, weights).weight_bytes / 1e9 == pytest.approx(gigabytes, rel=0.01)
