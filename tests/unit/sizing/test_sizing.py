"""The roofline, the fleets it gives, and what is said of them."""

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from disagg_operator.sizing import aiconfigurator
from disagg_operator.sizing.answer import Verdict, answered, first_token
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.fleet import aggregated, disaggregated, waiting
from disagg_operator.sizing.model import Weights, shape_of
from disagg_operator.sizing.plot import bars, svg
from disagg_operator.sizing.resource import resource
from disagg_operator.sizing.words import duration, two
from unit.sizing.measured import RUNS, Measured
from unit.sizing.questions import (
    DEEPSEEK_R1,
    GPT_OSS_120B,
    LLAMA_8B,
    LLAMA_70B,
    NVL72,
    P5,
    QWEN_32B,
    question,
)

TABLES = Path(__file__).parent / "aiconfigurator-0.12.0"
PLAIN = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}


def estimated(run: Measured) -> float:
    """Return the roofline's milliseconds of a run."""
    asked = question(run.model, run.platform)
    if run.batch:
        return asked.roofline.decode_seconds(run.batch, asked.load.context, run.gpus) * 1e3
    return asked.roofline.prefill_seconds(asked.load.isl, run.gpus) * 1e3


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.model}-{run.batch}")
def test_the_roofline_is_near_measured_kernels(run: Measured) -> None:
    assert 0.6 < estimated(run) / run.milliseconds < 1.25


def test_published_gains_of_disaggregation_are_within_those_estimated() -> None:
    """DeepSeek-R1 on GB200, 4,400 + 1,200 tokens: 1.4 to 2.5 times, TensorRT-LLM's blog 5."""
    asked = question(DEEPSEEK_R1, NVL72, isl=4400, osl=1200, rate=200, ttft=2)
    fleet = disaggregated(asked.roofline, asked.load, asked.buffer_tokens)
    both = aggregated(asked.roofline, asked.load)
    assert both is not None
    assert 1.4 < both.total / fleet.gpus < 2.6


def test_memory_adds_up_to_the_gpu() -> None:
    fleet = answered(question(LLAMA_70B)).fleet
    for role in (fleet.prefill, fleet.decode):
        memory = role.memory
        parts = memory.weights + memory.reserved + memory.buffer + memory.cache + memory.free
        assert parts == pytest.approx(memory.total)
        assert memory.weights * role.gpus == pytest.approx(question(LLAMA_70B).shape.weight_bytes)
        assert min(memory.weights, memory.reserved, memory.buffer, memory.cache, memory.free) > 0


def test_latent_attention_is_on_every_gpu() -> None:
    asked = question(DEEPSEEK_R1, NVL72)
    one, two_ = (asked.roofline.memory(gpus, 0) for gpus in (16, 32))
    assert one is not None
    assert two_ is not None
    rest = asked.shape.weight_bytes - asked.shape.attention_bytes
    assert one.weights == pytest.approx(asked.shape.attention_bytes + rest / 16)
    assert two_.weights == pytest.approx(asked.shape.attention_bytes + rest / 32)


def test_a_fleet_has_capacity_for_its_load_and_meets_its_targets() -> None:
    for name in (QWEN_32B, LLAMA_70B, GPT_OSS_120B):
        asked = question(name, ttft=2)
        fleet = answered(asked).fleet
        assert fleet.meets
        assert fleet.ttft <= asked.load.ttft
        assert fleet.itl <= asked.load.itl
        assert fleet.decode.running <= fleet.decode.batch
        assert asked.load.rate * fleet.prefill.seconds / fleet.prefill.replicas <= 0.9
        assert fleet.ttft == pytest.approx(fleet.prefill.seconds + fleet.wait + fleet.transfer)


def test_tcp_does_not_carry_a_load_that_efa_carries() -> None:
    answer = answered(question(LLAMA_70B))
    assert answer.verdict is Verdict.PAYS
    assert math.isinf(answer.over_tcp)


def test_the_rate_that_is_enough_is_where_the_target_is_met() -> None:
    answer = answered(question(LLAMA_70B))
    assert answer.enough is not None
    rate = answer.enough / 1e9
    assert first_token(answer.question, answer.fleet, rate * 1.01) <= answer.question.load.ttft
    assert first_token(answer.question, answer.fleet, rate * 0.99) > answer.question.load.ttft


def test_small_models_with_easy_targets_do_not_pay() -> None:
    answer = answered(question(LLAMA_8B, isl=200, osl=400, rate=20, ttft=5, itl=0.1))
    assert answer.both is not None
    assert answer.verdict in {Verdict.COSTS, Verdict.CLOSE}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"itl": 0.001}, "write --itl"),
        ({"ttft": 0.1}, "write --ttft"),
        ({"given": ["fabric_rate=0.01"]}, "efa does not carry the 13 GB/s"),
    ],
)
def test_missed_targets_are_told_with_what_to_write(changed: dict[str, object], said: str) -> None:
    answer = answered(question(LLAMA_70B, **changed))  # type: ignore[arg-type]
    assert answer.verdict is Verdict.MISSES
    assert said in answer.why


def test_the_greatest_uncertainty_is_named_with_what_it_does() -> None:
    answer = answered(question(LLAMA_70B))
    most = answer.uncertainty
    assert most is not None
    assert most.assumption.name == "fabric_rate"
    assert most.at_low is not None
    assert most.at_low > answer.fleet.gpus
    settled = answered(question(LLAMA_70B, given=["fabric_rate=9.6"])).uncertainty
    assert settled is not None
    assert settled.assumption.name != "fabric_rate"


def test_doubts_about_experts_are_told() -> None:
    assert any("mixtures of experts" in note for note in answered(question(GPT_OSS_120B)).notes)
    assert not answered(question(LLAMA_70B)).notes


def test_a_queue_is_empty_without_load_and_endless_when_full() -> None:
    assert waiting(2.0, 0.0) == 0
    assert waiting(2.0, 0.5) == 1.0
    assert math.isinf(waiting(2.0, 1.0))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_type": "mamba2"}, "model_type 'mamba2' is not among those"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"num_hidden_layers": 10**400}, "num_hidden_layers is 1000"),
        ({"num_attention_heads": True}, "num_attention_heads is True"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "It must be at most the 4 experts"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        (
            {"quantization_config": {"quant_method": "quip"}},
            "weights of type 'quip' are not known",
        ),
    ],
)
def test_a_configuration_that_cannot_be_counted_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(SizingError) as refused:
        shape_of("m", {**PLAIN, **changed})
    assert str(refused.value).startswith("--model: config.json of m: ")
    assert said in str(refused.value)


def test_files_say_how_weights_and_cache_are_quantised() -> None:
    beside = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    shape = shape_of("m", PLAIN, beside)
    assert (shape.weights, shape.geometry.dtype) == (Weights.NVFP4, "fp8")
    assert shape_of("m", PLAIN, beside, Weights.BF16).weights is Weights.BF16
    nested = {"text_config": PLAIN, "model_type": "outer", "quantization_config": {"quant_method": "fp8"}}
    assert shape_of("m", nested).weights is Weights.FP8


def test_a_prompt_longer_than_the_model_is_refused() -> None:
    with pytest.raises(SizingError, match=r"--isl: prompt and answer have 60500 tokens.*40960"):
        answered(question(isl=60_000))


def test_a_model_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(SizingError, match=r"--platform: .* needs 673 GB"):
        answered(question(DEEPSEEK_R1, "aws-g6e.8xlarge", backend="UCX"))


def test_the_picture_is_well_formed_and_shows_target_and_rates() -> None:
    root = ElementTree.fromstring(svg(answered(question(LLAMA_70B))))  # noqa: S314 - our own
    words = " ".join(root.itertext())
    for said in ("target 1 s", "TCP 0.1 a pod", "efa 3", "enough from 1.8 on", "an estimate"):
        assert said in words


def test_bars_get_shorter_with_the_rate() -> None:
    shown = [
        len(bar) for _, bar, told in bars(answered(question(LLAMA_70B))) if told != "cannot carry the load"
    ]
    assert shown == sorted(shown, reverse=True)


def test_numbers_have_two_digits_and_no_exponent() -> None:
    assert [two(value) for value in (0, 3, 0.0456, 1234567)] == ["0", "3", "0.046", "1200000"]
    assert [duration(value) for value in (0.0123, 1.26, math.inf)] == ["12 ms", "1.3 s", "never"]


def table(mode: str) -> aiconfigurator.Row:
    row = aiconfigurator.best((TABLES / f"{mode}.csv").read_text(encoding="utf-8"))
    assert row is not None
    return row


def test_aiconfigurator_s_answer_becomes_a_deployment() -> None:
    answer = aiconfigurator.answered(
        question(given=["fabric_rate=9.6"]), table("disagg"), table("agg"), "0.12.0"
    )
    fleet = answer.fleet
    assert (fleet.prefill.replicas, fleet.prefill.gpus, fleet.decode.replicas, fleet.decode.gpus) == (
        8,
        1,
        2,
        4,
    )
    assert fleet.gpus == 16
    assert fleet.prefill.seconds + fleet.wait == pytest.approx(0.778, abs=1e-3)
    assert fleet.meets
    assert answer.both is not None
    assert answer.both.total == 16
    assert answer.verdict is Verdict.CLOSE
    slow = aiconfigurator.answered(question(), table("disagg"), table("agg"), "0.12.0")
    assert slow.uncertainty is not None
    assert (slow.uncertainty.at_low, slow.uncertainty.at_high) == (None, 16)
    spec = resource(answer, QWEN_32B)["spec"]
    assert spec["transfer"]["maxTokensInBuffer"] == 5024
    assert (spec["prefill"]["replicas"], spec["decode"]["replicas"]) == (8, 2)
    assert spec["decode"]["engineConfig"]["max_batch_size"] == 88


def test_a_table_of_another_release_is_refused() -> None:
    row = {key: value for key, value in table("disagg").items() if key != "(p)tp"}
    with pytest.raises(SizingError, match=r"writes other tables than 0\.12\.0.*--estimator roofline"):
        aiconfigurator.answered(question(), row, None, "0.99")


def test_aiconfigurator_and_the_roofline_agree_on_the_order_of_size() -> None:
    theirs = aiconfigurator.answered(question(), table("disagg"), table("agg"), "0.12.0").fleet.gpus
    assert 0.5 < answered(question(platform=P5)).fleet.gpus / theirs < 2
