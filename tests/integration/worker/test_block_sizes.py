"""Prefill and decode with blocks of other sizes, behind Dynamo's frontend: the text of one worker alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.worker.stack import Stack

pytestmark = pytest.mark.timeout(400)

PREFILL, DECODE = 32, 64
"""Tokens of a block."""
WORDS = (1, 5, 20, 31, 32, 33, 64, 100, 200)


def config(engine_yaml: Callable[..., Path], block_tokens: int) -> Path:
    cache = {"memory_mib": 256, "block_tokens": block_tokens}
    return engine_yaml(kv_cache=cache, transfer={"timeout_seconds": 60})


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory, engine_yaml: Callable[..., Path]) -> Iterator[Stack]:
    """A worker that does both."""
    running = Stack(tmp_path_factory.mktemp("alone"))
    try:
        running.start_frontend()
        running.start_worker("aggregated-0", "aggregated", config(engine_yaml, DECODE))
        running.wait_ready()
        yield running
    finally:
        running.end()


def test_other_sizes_of_blocks_give_the_same_text(
    stack: Stack, alone: Stack, engine_yaml: Callable[..., Path]
) -> None:
    stack.start_frontend()
    stack.start_worker("prefill-0", "prefill", config(engine_yaml, PREFILL))
    stack.start_worker("decode-0", "decode", config(engine_yaml, DECODE))
    stack.wait_ready()
    story = ("The fox and the hare went on. " * 40).split()
    for words in WORDS:
        prompt = " ".join(story[:words])
        assert text(stack, prompt) == text(alone, prompt), f"{words} words"
    assert stack.metric("decode-0", 'disagg_kv_reads_total{outcome="ok"}') == len(WORDS)
    assert stack.metric("decode-0", "disagg_prompt_tokens_total") == 0, "prefill computed all of them"


def text(served: Stack, prompt: str) -> Any:
    """The continuation of a prompt, word by word the likeliest."""
    with served.completion(prompt, max_tokens=8, temperature=0, stream=False) as response:
        return json.loads(response.read())["choices"][0]["text"]
