"""Dynamo's request as sampling parameters."""

from typing import Any

import pytest

from disagg_worker.engine import RequestRefused, SamplingParams
from disagg_worker.serve.request import parse_request

EOS = 2


def request(**changes: Any) -> dict[str, Any]:
    return {
        "token_ids": [5, 6, 7],
        "eos_token_ids": [EOS],
        "stop_conditions": {"max_tokens": 9, "stop_token_ids_hidden": [EOS]},
        "sampling_options": {},
        "output_options": {},
    } | changes


def test_defaults_are_greedy() -> None:
    work = parse_request(request(), 100)
    assert work.tokens == (5, 6, 7)
    assert work.sampling == SamplingParams(max_tokens=9, stop_token_ids=frozenset({EOS}))


def test_all_that_is_supported_is_passed_on() -> None:
    options = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "seed": 3, "n": 1, "frequency_penalty": 0.0}
    stop = {"max_tokens": 4, "min_tokens": 2, "stop_token_ids": [8], "stop_token_ids_hidden": [EOS]}
    sampling = parse_request(request(sampling_options=options, stop_conditions=stop), 100).sampling
    assert sampling == SamplingParams(
        max_tokens=4,
        temperature=0.7,
        top_p=0.9,
        top_k=40,
        seed=3,
        min_tokens=2,
        stop_token_ids=frozenset({8, EOS}),
    )


def test_an_open_answer_is_as_long_as_the_context() -> None:
    assert parse_request(request(stop_conditions={}), 100).sampling.max_tokens == 97
    assert parse_request(request(stop_conditions=None, sampling_options=None), 2).sampling.max_tokens == 1


def test_ignored_eos_is_no_stop_token() -> None:
    stop = {"ignore_eos": True, "stop_token_ids_hidden": [EOS, 8]}
    sampling = parse_request(request(stop_conditions=stop), 100).sampling
    assert sampling.stop_token_ids == {8}
    assert sampling.ignore_eos


def test_all_tokens_is_written_in_two_ways() -> None:
    assert parse_request(request(sampling_options={"top_k": -1}), 100).sampling.top_k == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling_options": {"n": 2}},
        {"sampling_options": {"presence_penalty": 0.1}},
        {"sampling_options": {"guided_decoding": {"json": {}}}},
        {"sampling_options": {"temperature": -1.0}},
        {"output_options": {"logprobs": 1}},
    ],
)
def test_what_cannot_be_done_is_refused_by_name(changes: dict[str, Any]) -> None:
    ((_, options),) = changes.items()
    with pytest.raises(RequestRefused, match=next(iter(options))):
        parse_request(request(**changes), 100)
