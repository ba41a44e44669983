"""The real model against llama.cpp: float32 logits of the same weights, at every position.

Tolerance: 0.002 in the logits, whose standard deviation is about 7. The largest difference that was seen is
0.0003 at position 1000; it grows with the position, because llama.cpp multiplies the rotary angles up in
float32 where this engine computes each in float64.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from bench.engine.reference import Reference
from bench.engine.weights import model_gguf
from disagg_worker.engine.compute import limit_threads
from disagg_worker.kv import BlockPool, KVLayout
from disagg_worker.model.gguf import read_gguf
from disagg_worker.model.kernels import CpuKernels
from disagg_worker.model.llama import Llama
from disagg_worker.model.segment import Segment

TOLERANCE = 0.002
CHUNK = 512
PROMPTS = {
    "one token": "Hello",
    "chat": "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "code": "def fibonacci(n):\n    if n < 2:\n        return n\n    return ",
    "other scripts": "naïve café, 你好世界, 🙂 12345",
    "long": "The quick brown fox jumps over the lazy dog. In 1984 computers began to change the world. " * 45,
}

pytestmark = pytest.mark.timeout(1800)  # llama.cpp is compiled the first time


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    with Reference(threads=1, context=2048, all_logits=True) as process:
        yield process


@pytest.fixture(scope="module")
def llama() -> Llama:
    limit_threads(1)
    spec, weights = read_gguf(model_gguf())
    layout = KVLayout(spec.layers, spec.kv_heads, spec.head_dim, 16, "float32", "")
    return Llama(spec, weights, BlockPool(layout, 128).array, CpuKernels(), 2048)


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_of_a_prompt_agree_at_every_position(reference: Reference, llama: Llama, name: str) -> None:
    tokens, blocks = reference.tokenize(PROMPTS[name]), tuple(range(127, -1, -1))
    parts = [
        llama.prefill(Segment(tokens[start : start + CHUNK], start, blocks))
        for start in range(0, len(tokens), CHUNK)
    ]
    ours, theirs = llama.logits(np.concatenate(parts)), reference.logits(tokens)
    assert len(ours) == len(tokens)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def test_logits_of_greedy_decoding_agree(reference: Reference, llama: Llama) -> None:
    tokens, blocks = reference.tokenize(PROMPTS["chat"]), tuple(range(8))
    logits = [llama.logits(llama.prefill(Segment(tokens, 0, blocks))[-1:])[0]]
    start = len(tokens)
    for _ in range(40):
        tokens.append(int(logits[-1].argmax()))
        hidden = llama.decode([Segment(tokens[-1:], len(tokens) - 1, blocks)])
        logits.append(llama.logits(hidden)[0])
    theirs = reference.logits(tokens)[start - 1 :]
    np.testing.assert_allclose(np.stack(logits), theirs, rtol=0, atol=TOLERANCE)
    assert [int(row.argmax()) for row in theirs[:-1]] == tokens[start:]
