"""Sizing of any load: longer prompts need no less, bytes are linear in tokens, and nothing is for free."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.cli.planning import judged
from disagg_operator.cli.size.picture import svg
from disagg_operator.plan.installation import Installation
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.sizing import kv, transfer
from disagg_operator.sizing.answer import answered
from disagg_operator.sizing.assumptions import models
from disagg_operator.sizing.bars import bars
from disagg_operator.sizing.errors import SizingError
from disagg_operator.sizing.model import shape_of
from disagg_operator.sizing.resource import resource
from disagg_operator.sizing.search import disaggregated
from unit.sizing.questions import B200, LLAMA_8B, P5EN, known, question

NAMES = st.sampled_from(list(models()))
PLATFORMS = st.sampled_from([P5EN, B200])
TOKENS = st.integers(1, 20_000)
GPUS = st.sampled_from([1, 2, 4, 8, 16])


@given(NAMES, TOKENS, TOKENS)
def test_bytes_of_cache_are_linear_in_tokens(name: str, some: int, more: int) -> None:
    size = kv.token_bytes(known(name))
    assert size * some + size * more == size * (some + more)
    assert kv.windowed_bytes(known(name), some) <= size * some
    rate = 1e9
    one, other, together = (transfer.seconds(size * tokens, rate) for tokens in (some, more, some + more))
    assert together == pytest.approx(one + other)


@given(NAMES, PLATFORMS, TOKENS, TOKENS, GPUS)
def test_longer_prompts_and_larger_batches_take_longer(
    name: str, platform: str, some: int, more: int, gpus: int
) -> None:
    roofline = question(name, platform).roofline
    assert roofline.prefill_seconds(some, gpus) <= roofline.prefill_seconds(some + more, gpus)
    assert roofline.decode_seconds(1, some, gpus) <= roofline.decode_seconds(1, some + more, gpus)
    assert roofline.decode_seconds(1, some, gpus) <= roofline.decode_seconds(8, some, gpus)


@given(st.integers(1, 20_000), st.integers(1, 2_000), st.sampled_from([32, 64, 128]))
def test_the_buffer_holds_the_request_in_whole_blocks(isl: int, osl: int, block: int) -> None:
    tokens = transfer.buffer_tokens(isl + osl, 500, block)
    assert tokens % block == 0
    assert isl + osl + 500 <= tokens < isl + osl + 500 + block


@settings(max_examples=30)
@given(
    NAMES, st.integers(100, 8_000), st.integers(100, 4_000), st.floats(0.5, 20), st.sampled_from([1, 1000])
)
def test_more_to_do_needs_no_fewer_gpus(name: str, isl: int, more: int, rate: float, fabric: int) -> None:
    few, longer, often = (
        disaggregated(asked.roofline, asked.load, 16_384)
        for asked in (
            question(
                name, P5EN, isl=tokens, rate=times * rate, ttft=60, itl=0.1, given=[f"fabric_rate={fabric}"]
            )
            for tokens, times in ((isl, 1), (isl + more, 1), (isl, 2))
        )
    )
    assert few.meets
    assert few.gpus <= longer.gpus
    assert few.gpus <= often.gpus


@settings(max_examples=12)
@given(NAMES, PLATFORMS, st.integers(100, 8_000), st.integers(10, 2_000), st.floats(0.1, 20))
def test_every_answer_is_a_deployment_that_the_operator_accepts(
    name: str, platform: str, isl: int, osl: int, rate: float
) -> None:
    answer = answered(question(name, platform, isl=isl, osl=osl, rate=rate, ttft=5, itl=0.05))
    refused, _ = judged(resource(answer, name), Installation("worker:test", catalogue=builtin()))
    assert not refused


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 10**12),
    st.integers(1, 512),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["quant_method", "quant_algo"]), st.text(max_size=3), max_size=2),
)
QUANTISED = VALUES | st.dictionaries(st.sampled_from(["quant_algo", "kv_cache_quant_algo"]), VALUES)


def counted_or_refused(name: str, config: Mapping[str, object], beside: Mapping[str, object] | None) -> None:
    asked = question(LLAMA_8B, P5EN, ttft=5, itl=0.05)
    try:
        asked = replace(asked, shape=shape_of(name, config, beside))
        disaggregated(asked.roofline, asked.load, asked.buffer_tokens)
    except SizingError as error:
        assert str(error).startswith("--")  # noqa: PT017 - either way is right


@settings(max_examples=30)
@given(NAMES, st.data())
def test_any_configuration_is_counted_or_refused_with_the_option(name: str, data: st.DataObject) -> None:
    config = models()[name]["config"]
    changed = data.draw(st.dictionaries(st.sampled_from([*config, "text_config"]), VALUES, max_size=3))
    counted_or_refused(name, {**config, **changed}, None)


@settings(max_examples=60)
@given(NAMES, QUANTISED)
def test_any_quantisation_is_counted_or_refused_with_the_option(name: str, quantised: object) -> None:
    counted_or_refused(name, models()[name]["config"], {"quantization": quantised})


@settings(max_examples=15)
@given(st.sampled_from([each.name for each in question().assumed]), st.floats(1e-6, 1e9))
def test_any_assumption_gives_an_answer_or_is_refused_with_the_option(name: str, value: float) -> None:
    try:
        answer = answered(question(given=[f"{name}={value!r}"]))
    except SizingError as error:
        assert str(error).startswith("--")  # noqa: PT017 - the same
    else:
        assert "<svg" in svg(answer)
        assert bars(answer)
