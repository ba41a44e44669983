"""Dynamo's own KV-aware router and its conditional disaggregation, with real events of the reference engine.

The tests of this module share one stack of processes: two prefill workers and one decode worker.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring import metrics

pytestmark = pytest.mark.timeout(600)
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school")
CHUNK = 64
SHORT = 20
WORKERS = ("prefill-0", "prefill-1")
SELECTED = "dynamo_component_router_kv_selected_cached_prefix_tokens_total"
WHICH_ROUTER = {"worker_id", "router_id", "dynamo_namespace", "dynamo_component"}
"""Labels that dashboards add up over."""
READS = 'disagg_kv_reads_total{outcome="ok"}'
LEFT_BY_FRONTEND = 'disagg_prompts_local_total{left_by="frontend"}'
LEFT_BY_PREFILL = 'disagg_prompts_local_total{left_by="prefill"}'
REUSED = "disagg_prompt_tokens_reused_total"


def text(topic: int, words: int = 150) -> str:
    """A text of about so many tokens; two topics have no beginning in common."""
    return f"{topic} " + " ".join(WORDS[(7 * number + topic) % len(WORDS)] for number in range(words))


@pytest.fixture(scope="module")
def config(engine_yaml: Callable[..., Path]) -> Callable[..., Path]:
    def write(**sections: Any) -> Path:
        return engine_yaml(
            kv_cache={"memory_mib": 256, "enable_block_reuse": True},
            scheduler={"prefill_chunk_tokens": CHUNK},
            **sections,
        )

    return write


@pytest.fixture(scope="module")
def routed(stack: Any, config: Callable[..., Path]) -> Any:
    """Decode computes what is asked again, if it has more than half of it and at most 60 tokens are new.

    And so is what would go to a prefill worker with more than eight chunks in hand.
    """
    policy = {
        "policy": "isl_or_load",
        "eff_isl_threshold": 61,
        "eff_isl_ratio_threshold": 0.5,
        "prefill_busy_threshold": 8.0,
    }
    stack.start_frontend(
        *("--router-mode", "kv"),
        *("--router-conditional-disagg", "--router-conditional-disagg-config", json.dumps(policy)),
    )
    for worker in WORKERS:
        stack.start_worker(worker, "prefill", config(local_prefill={"max_prompt_tokens": SHORT}))
    stack.start_worker("decode-0", "decode", config())
    stack.wait_ready()
    return stack


def answer(stack: Any, prompt: str) -> str:
    with stack.completion(prompt, max_tokens=6, stream=False, temperature=0) as response:
        body = json.loads(response.read())
        assert response.status_code == 200, body
    said: str = body["choices"][0]["text"]
    return said


def told(stack: Any) -> float:
    """Batches of events that the router has taken in."""
    return float(stack.router_metric("dynamo_component_router_kv_zmq_ingress_batches_total"))


def answer_and_tell(stack: Any, prompt: str) -> str:
    """Answer a prompt of two chunks, and wait until the router knows who has it: prefill tells each chunk."""
    before = told(stack)
    said = answer(stack, prompt)
    stack.wait_until("prefill and decode have told", lambda: told(stack) >= before + 3, 60)
    return said


def test_a_prompt_goes_to_the_prefill_worker_that_has_its_beginning(routed: Any) -> None:
    """A long continuation is for prefill: it goes where the beginning is, which is not computed again."""
    answer_and_tell(routed, text(1))
    (first,) = [worker for worker in WORKERS if routed.metric(worker, "disagg_prompt_tokens_total")]
    for topic in (2, 3, 4):
        answer(routed, f"{text(1)} {text(topic, 100)}")
    reused = {worker: routed.metric(worker, REUSED) for worker in WORKERS}
    assert reused == {worker: 3 * 2 * CHUNK if worker == first else 0 for worker in WORKERS}
    # The router counts blocks, of which more are equal than chunks.
    assert routed.router_metric(SELECTED, 'phase="prefill"') >= 3 * 2 * CHUNK


def test_a_prompt_that_decode_has_mostly_is_computed_there_and_nothing_is_read(routed: Any) -> None:
    prompt = text(6)
    expected = answer_and_tell(routed, prompt)
    left, reads = routed.metric("decode-0", LEFT_BY_FRONTEND), routed.metric("decode-0", READS)
    assert answer(routed, prompt) == expected
    assert routed.metric("decode-0", LEFT_BY_FRONTEND) == left + 1
    assert routed.metric("decode-0", READS) == reads


def test_a_short_prompt_skips_the_transfer_without_any_hit(routed: Any) -> None:
    left, reads = routed.metric("decode-0", LEFT_BY_PREFILL), routed.metric("decode-0", READS)
    computed = [routed.metric(worker, "disagg_prompt_tokens_total") for worker in WORKERS]
    short, longer = "The capital of France is", text(7, 40)
    assert "Paris" in answer(routed, short)
    assert routed.metric("decode-0", LEFT_BY_PREFILL) == left + 1
    assert routed.metric("decode-0", READS) == reads
    assert computed == [routed.metric(worker, "disagg_prompt_tokens_total") for worker in WORKERS]
    answer(routed, longer)
    assert routed.metric("decode-0", LEFT_BY_PREFILL) == left + 1
    assert routed.metric("decode-0", READS) == reads + 1


def test_while_prefill_is_busy_decode_computes_what_nobody_has(routed: Any) -> None:
    left, reads = routed.metric("decode-0", LEFT_BY_FRONTEND), routed.metric("decode-0", READS)
    with ThreadPoolExecutor(len(WORKERS)) as pool:
        # Seconds of work for each prefill worker.
        asked = [pool.submit(answer, routed, text(topic, 1500)) for topic in (8, 9)]
        routed.wait_until(
            "both prefill workers compute",
            lambda: all(routed.metric(worker, "disagg_sequences_running") == 1 for worker in WORKERS),
            60,
        )
        answer(routed, text(10, 60))
        assert routed.metric("decode-0", LEFT_BY_FRONTEND) == left + 1
        for each in asked:
            each.result()
    assert routed.metric("decode-0", READS) == reads + len(WORKERS)


def test_the_frontend_has_the_metrics_that_dashboards_and_alerts_ask_for(routed: Any) -> None:
    answer(routed, text(11))
    answered = httpx.get(f"{routed.url}/metrics").text
    shown = {
        sample.name: (family.type, set(sample.labels) - WHICH_ROUTER - {"le"})
        for family in text_string_to_metric_families(answered)
        for sample in family.samples
    }
    listed = {name: (each.kind, set(each.labels)) for each in metrics.dynamo() for name in each.series}
    assert len(listed) > 15
    assert {name: shown.get(name) for name in listed} == listed
