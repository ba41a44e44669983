"""Answers that are streamed: what is read of them, and how fast they came."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from disagg_operator.cli.streamed import Answer, Events, error_text, summary


def chunk(text: str | None, **more: Any) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}, **more}]})


def answer(*times: float) -> Answer:
    clock: Iterator[float] = iter(times)
    return Answer(lambda: next(clock), 10.0)


def test_events_are_found_wherever_the_stream_is_cut() -> None:
    whole = b': a comment\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata:{"b": 2}\n\ndata: [DONE]\n\n'
    for size in range(1, len(whole)):
        events = Events()
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert [data for piece in pieces for data in events.feed(piece)] == ['{"a": 1}', '{"b": 2}', "[DONE]"]


def test_what_never_ends_a_line_is_given_up() -> None:
    with pytest.raises(ValueError, match="too long"):
        list(Events().feed(b"x" * 2_000_000))


def test_the_time_to_the_first_token_and_the_rate_after_it_are_told() -> None:
    found = answer(10.5, 11.0, 11.5)
    # The first event says only who speaks.
    texts = [found.take(each) for each in (chunk(None), chunk("One "), chunk("two "), chunk("three"))]
    found.take(chunk("", finish_reason="length"))
    found.take(json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}))
    assert found.take("[DONE]") == ""
    assert "".join(texts) == found.text == "One two three"
    told = found.document()
    assert told == {
        **{"text": "One two three", "finishReason": "length", "ttftSeconds": 0.5, "seconds": 1.5},
        **{"promptTokens": 7, "tokens": 5, "chunks": 3, "tokensPerSecond": 4.0},
    }
    assert summary(told, 5) == (
        "TTFT 0.500 s, 5 tokens in 1.500 s, 4.0 tokens/s after the first, prompt of 7 tokens, "
        "cut at --max-tokens 5"
    )


def test_pieces_are_not_called_tokens() -> None:
    found = answer(10.5, 11.0)
    found.take(chunk("a"))
    found.take(chunk("b"))
    assert summary(found.document(), 5) == (
        "TTFT 0.500 s, 2 pieces (tokens were not counted) in 1.000 s, 2.0 pieces/s after the first"
    )


def test_one_token_has_no_rate_and_no_text_no_time() -> None:
    one, none = answer(10.5), answer()
    one.take(chunk("a"))
    none.take(chunk(None, finish_reason="stop"))
    assert one.document()["tokensPerSecond"] is None
    assert summary(none.document(), 5) == "the answer has no text"


def test_errors_in_the_stream_are_told() -> None:
    with pytest.raises(ValueError, match="no worker"):
        answer().take('{"error": {"message": "no worker"}}')
    with pytest.raises(ValueError, match="Expecting"):
        answer().take("no json")
    assert error_text({"message": "x"}) == "x"


@pytest.mark.parametrize(
    "data",
    [
        *("[]", "null", "3", '"text"', '{"choices": 5}', '{"choices": ["x"]}', '{"choices": {"a": 1}}'),
        *('{"choices": [{"delta": {"content": 5}}]}', '{"choices": [{"delta": {"content": ["a"]}}]}'),
        *('{"choices": [{"delta": "x"}]}', '{"usage": [1]}', "[" * 100_000),
    ],
)
def test_what_is_no_chat_completion_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r"no chat completion|nested too deeply"):
        answer(10.5).take(data)


def test_tokens_that_are_no_numbers_are_not_counted() -> None:
    found = answer(10.5, 11.0)
    found.take(chunk("a"))
    found.take(chunk("b"))
    found.take('{"choices": null, "usage": {"completion_tokens": "3", "prompt_tokens": -1}}')
    assert "tokens were not counted" in summary(found.document(), 5)
    assert found.document()["promptTokens"] is None


def test_an_answer_ends_with_its_last_event_or_with_why_the_model_stopped() -> None:
    done, finished = answer(10.5), answer(10.5)
    for found in (done, finished):
        found.take(chunk("a"))
        assert not found.ended
    done.take("[DONE]")
    finished.take(chunk(None, finish_reason="stop"))
    assert done.ended
    assert finished.ended


def test_half_a_character_is_replaced() -> None:
    assert answer(10.5).take('{"choices": [{"delta": {"content": "a\\ud83d"}}]}') == "a?"
