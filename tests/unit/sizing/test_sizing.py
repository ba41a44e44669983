"""The roofline, the fleets it gives, and what is said of them."""

import math
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest

from disagg_operator.cli.size.picture import svg
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.sizing import aiconfigurator, kv
from disagg_operator.sizing.answer import Question, Verdict, answered, first_token
from disagg_operator.sizing.assumptions import FABRIC, assumed
from disagg_operator.sizing.bars import bars
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.fleet import Role, moved, waiting
from disagg_operator.sizing.model import Weights, shape_of
from disagg_operator.sizing.resource import resource
from disagg_operator.sizing.search import aggregated, disaggregated
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


@pytest.mark.parametrize("rate", [20, 100, 400])
@pytest.mark.parametrize(("itl", "least", "most"), [(0.05, 1.45, 1.75), (0.02, 1.95, 2.65)])
def test_gains_of_disaggregation_are_those_that_the_page_holds_against_published_ones(
    rate: float, itl: float, least: float, most: float
) -> None:
    """DeepSeek-R1 on GB200, 4,400 + 1,200 tokens: 1.4 to 2.5 times, TensorRT-LLM's blog 5."""
    asked = question(DEEPSEEK_R1, NVL72, isl=4400, osl=1200, rate=rate, ttft=2, itl=itl)
    fleet = disaggregated(asked.roofline, asked.load, asked.buffer_tokens)
    both = aggregated(asked.roofline, asked.load)
    assert both is not None
    assert least < both.total / fleet.gpus < most


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


def test_a_slow_fabric_gets_more_instances_of_both_roles() -> None:
    """By hand, 8 GPUs each: a prompt is 0.164 s under way at 1 GB/s a GPU, so 10 a second take 2 lanes."""
    fleet = answered(question(LLAMA_70B, given=["fabric_rate=1"])).fleet
    assert (fleet.prefill.replicas, fleet.prefill.gpus) == (3, 8)
    assert (fleet.decode.replicas, fleet.decode.gpus) == (2, 8)
    assert fleet.meets
    assert fleet.transfer == pytest.approx(0.164 + 0.164 * 0.82 / (2 * 0.18), rel=0.02)


def role(asked: Question, gpus: int, replicas: int, seconds: float = 0.0) -> Role:
    memory = asked.roofline.memory(gpus, asked.buffer_tokens)
    assert memory is not None
    return Role(gpus, replicas, 1, 0.0, seconds, memory)


def serves(asked: Question, prefill: tuple[int, int], decode: tuple[int, int]) -> bool:
    """Return whether a fleet (GPUs of an instance, instances) meets the targets, without any search."""
    roofline, load = asked.roofline, asked.load
    memory = roofline.memory(decode[0], asked.buffer_tokens)
    if memory is None or roofline.memory(prefill[0], asked.buffer_tokens) is None:
        return False
    room = int(roofline.cached_tokens(memory, decode[0]) / (load.isl + load.osl))
    tokens = max(
        (
            batch / step
            for batch in range(1, room + 1)
            if (step := roofline.decode_seconds(batch, load.context, decode[0])) <= load.itl
        ),
        default=0.0,
    )
    if tokens * asked.assumed["decode_load"] * decode[1] < load.rate * load.osl:
        return False
    seconds = roofline.prefill_seconds(load.isl, prefill[0])
    busy = load.rate * seconds / prefill[1]
    senders, receivers = role(asked, *prefill), role(asked, *decode)
    under_way = moved(roofline, load, senders, receivers, FABRIC)
    in_time = seconds + waiting(seconds, busy) + under_way <= load.ttft
    return in_time and busy <= asked.assumed["prefill_load"]


@pytest.mark.parametrize(
    "asked",
    [
        question(LLAMA_70B),
        question(LLAMA_70B, given=["fabric_rate=1"]),
        question(LLAMA_70B, ttft=0.7, given=["fabric_rate=2"]),
        question(QWEN_32B, rate=4, given=["fabric_rate=0.5"]),
        question(GPT_OSS_120B, rate=20, ttft=0.5, given=["fabric_rate=1"]),
    ],
)
def test_no_fleet_of_fewer_gpus_meets_the_targets(asked: Question) -> None:
    fleet = answered(asked).fleet
    assert fleet.meets
    found = [(role.gpus, role.replicas) for role in (fleet.prefill, fleet.decode)]
    assert serves(asked, *found)
    sizes = (1, 2, 4, 8, 16)
    for prefill, decode in product(sizes, sizes):
        for senders in range(1, fleet.gpus // prefill + 1):
            receivers = (fleet.gpus - 1 - senders * prefill) // decode  # more never take longer
            if receivers > 0:
                assert not serves(asked, (prefill, senders), (decode, receivers))


def test_as_many_instances_are_tried_as_the_api_takes() -> None:
    given = ["gpus_per_node=1", "fabric_rate=1000"]
    alone = question(LLAMA_8B, isl=1000, osl=2, ttft=5, itl=0.1, given=given)
    rate = 999.5 * alone.assumed["prefill_load"] / alone.roofline.prefill_seconds(1000, 1)
    fleet = answered(question(LLAMA_8B, isl=1000, osl=2, rate=rate, ttft=5, itl=0.1, given=given)).fleet
    assert (fleet.prefill.replicas, fleet.prefill.gpus) == (1000, 1)


def test_a_load_that_no_number_of_instances_moves_is_refused() -> None:
    with pytest.raises(SizingError, match=r"--rate: 10 requests/s make 13 GB/s of KV cache, which 1000 inst"):
        answered(question(LLAMA_70B, given=["fabric_rate=1e-6"]))


def test_a_late_fleet_is_not_far_from_the_fastest() -> None:
    fleet = answered(question(LLAMA_70B, ttft=0.1)).fleet
    assert not fleet.meets
    assert answered(question(LLAMA_70B, ttft=fleet.ttft)).fleet.meets
    assert not answered(question(LLAMA_70B, ttft=0.99 * fleet.ttft / 1.5)).fleet.meets


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
        ({"given": ["fabric_rate=0.01"]}, "of it on efa: write --ttft"),
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


def test_gpus_of_a_node_are_the_platforms_or_the_option_s() -> None:
    assert question().assumed.by_name["gpus_per_node"].source == f"profile of platform {P5}"
    machine = builtin().machine(P5)
    fabric = builtin().fabrics_of(machine)[0]
    given = assumed(machine, fabric, "UCX", question().shape, per_node=4).by_name["gpus_per_node"]
    assert (given.value, given.source) == (4, "--gpus-per-node")


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
    cache = {"quantization": {"kv_cache_quant_algo": "INT8"}}
    assert kv.token_bytes(shape_of("m", PLAIN, cache)) == kv.token_bytes(shape_of("m", PLAIN)) / 2
    nested = {"text_config": PLAIN, "model_type": "outer", "quantization_config": {"quant_method": "fp8"}}
    assert shape_of("m", nested).weights is Weights.FP8


def test_a_type_of_cache_that_is_not_known_is_refused() -> None:
    shape = shape_of("m", PLAIN, {"quantization": {"kv_cache_quant_algo": []}})
    with pytest.raises(SizingError, match=r"--kv-dtype: the type of m's KV cache is not known \('\[\]'\)"):
        kv.token_bytes(shape)


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


@pytest.mark.parametrize("wrong", [None, "", "0", "0.5", "-1", "nan", "inf", "many"])
def test_cells_that_hold_no_number_are_refused_like_another_release(wrong: str | None) -> None:
    for column in ("(p)workers", "(d)tp", "replicas_needed"):
        with pytest.raises(SizingError, match=r"writes other tables than 0\.12\.0"):
            aiconfigurator.answered(question(), {**table("disagg"), column: wrong}, None, "0.99")
    with pytest.raises(SizingError, match=r"writes other tables than 0\.12\.0"):
        aiconfigurator.answered(question(), table("disagg"), {**table("agg"), "global_bs": wrong}, "0.99")


def test_a_table_that_breaks_off_is_refused() -> None:
    lines = (TABLES / "disagg.csv").read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    for length in range(1, len(cells) - 1):
        row = aiconfigurator.best(f"{lines[0]}\n{','.join(cells[:length])}\n")
        assert row is not None
        with pytest.raises(SizingError, match=r"writes other tables than 0\.12\.0"):
            aiconfigurator.answered(question(), row, None, "0.12.0")


def test_a_fabric_that_does_not_carry_aiconfigurator_s_fleet_is_told() -> None:
    slow = aiconfigurator.answered(
        question(given=["fabric_rate=0.01"]), table("disagg"), table("agg"), "0.12.0"
    )
    assert slow.verdict is Verdict.MISSES
    assert "efa does not carry the 10 GB/s of KV cache that this load makes between so few" in slow.why


def test_aiconfigurator_and_the_roofline_agree_on_the_order_of_size() -> None:
    theirs = aiconfigurator.answered(question(), table("disagg"), table("agg"), "0.12.0").fleet.gpus
    assert 0.5 < answered(question(platform=P5)).fleet.gpus / theirs < 2
