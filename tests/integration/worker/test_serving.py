"""Prefill, decode and frontend as real processes: what clients get, and what happens when workers go.

The tests of this module share one stack of processes and run in order; each leaves it serving.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from disagg_worker.config import load_config
from testcluster.chat import events_of

pytestmark = pytest.mark.timeout(400)
QUESTION = "What is the capital of France?"


def done(lines: list[str]) -> bool:
    """Whether a stream of events came to its end."""
    return [line for line in lines if line.startswith("data: ")][-1] == "data: [DONE]"


def answers(serving: Any) -> bool:
    """Whether the question is answered, time after time."""
    return all(serving.chat(QUESTION).status_code == 200 for _ in range(4))


@pytest.fixture(scope="module")
def config(engine_yaml: Callable[..., Path]) -> Path:
    return engine_yaml(transfer={"timeout_seconds": 20}, kv_cache={"memory_mib": 128})


@pytest.fixture(scope="module")
def serving(stack: Any, config: Path) -> Any:
    stack.start_frontend(DYN_MIGRATION_LIMIT="3")  # as the operator sets it
    stack.start_worker("prefill-0", "prefill", config)
    stack.start_worker("decode-0", "decode", config)
    stack.wait_ready()
    return stack


def test_chat_answers_sensibly_and_moves_kv(serving: Any, config: Path) -> None:
    answer = serving.chat(QUESTION).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    blocks = -(-usage["prompt_tokens"] // 16)
    size = blocks * 16 * 30 * 2 * 3 * 64 * 4
    assert serving.metric("decode-0", 'disagg_kv_read_bytes_total{backend="UCX",transport="tcp/') == size
    assert serving.metric("decode-0", 'disagg_kv_reads_total{outcome="ok"}') == 1
    serving.wait_until(
        "prefill counted them", lambda: serving.metric("prefill-0", "disagg_kv_served_bytes_total") == size
    )
    assert serving.metric("prefill-0", "disagg_prompt_tokens_total") == usage["prompt_tokens"]
    assert serving.metric("decode-0", "disagg_prompt_tokens_total") == 0
    assert serving.metric("decode-0", "disagg_generated_tokens_total") >= usage["completion_tokens"]
    assert serving.metric("decode-0", 'disagg_requests_total{outcome="ok",role="decode"}') == 1
    assert serving.metric("decode-0", "disagg_step_seconds_count") > 0
    assert serving.metric("prefill-0", "disagg_kv_blocks{") > 0
    assert load_config(config).kv_cache.block_tokens == 16


def test_completions_stream(serving: Any) -> None:
    prompt = "The quick brown fox"
    with serving.completion(prompt, max_tokens=8, stream_options={"include_usage": True}) as response:
        lines = list(response.iter_lines())
    assert done(lines)
    events = list(events_of(lines))
    deltas = [choice["text"] for event in events for choice in event["choices"]]
    assert len(deltas) >= 8
    with serving.completion(prompt, max_tokens=8, stream=False) as response:
        whole = json.loads(response.read())
    assert "".join(deltas) == whole["choices"][0]["text"]
    assert events[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 8, "total_tokens": 12}


def test_seeded_sampling_repeats(serving: Any) -> None:
    options = {"temperature": 1.0, "top_p": 0.9, "top_k": 50, "max_tokens": 8}
    texts = [
        serving.chat(QUESTION, seed=seed, **options).json()["choices"][0]["message"]["content"]
        for seed in (5, 5, 6)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_what_is_not_supported_is_refused_by_name(serving: Any) -> None:
    refused = serving.chat(QUESTION, frequency_penalty=0.5)
    assert refused.status_code == 400
    assert "frequency_penalty: is not supported" in refused.json()["message"]
    too_long = serving.chat("word " * 3000)
    assert too_long.status_code == 400


def test_a_client_that_leaves_frees_everything(serving: Any) -> None:
    with serving.completion("Once upon a time", max_tokens=2000) as response:
        next(response.iter_lines())
    for worker in ("prefill-0", "decode-0"):
        serving.wait_until(
            f"{worker} has no block in use",
            lambda name=worker: (
                serving.metric(name, 'disagg_kv_blocks{state="active"}') == 0
                and serving.metric(name, 'disagg_kv_blocks{state="held"}') == 0
            ),
            30,
        )


def test_prefill_drains_before_it_ends(serving: Any, config: Path) -> None:
    """KV that decode has not read yet outlives SIGTERM."""
    decode, prefill = serving.processes["decode-0"], serving.processes["prefill-0"]
    with ThreadPoolExecutor(1) as pool:
        decode.send_signal(signal.SIGSTOP)
        asked = pool.submit(serving.chat, QUESTION)
        serving.wait_until(
            "prefill holds blocks",
            lambda: serving.metric("prefill-0", 'disagg_kv_blocks{state="held"}') > 0,
            20,
        )
        prefill.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert prefill.poll() is None
        decode.send_signal(signal.SIGCONT)
        assert "Paris" in asked.result().json()["choices"][0]["message"]["content"]
    assert prefill.wait(30) == 0
    assert "Traceback" not in serving.log("prefill-0")
    serving.start_worker("prefill-0", "prefill", config)
    serving.wait_ready()


def test_killed_prefill_fails_readably_and_comes_back(serving: Any, config: Path) -> None:
    prefill = serving.processes["prefill-0"]
    prefill.kill()
    prefill.wait()
    failed = serving.chat(QUESTION)
    assert failed.status_code == 503
    assert failed.json()["message"]
    serving.start_worker("prefill-0", "prefill", config)
    # The frontend may try the dead worker once more, until it has given that one up.
    serving.wait_until(
        "chat works again, and again",
        lambda: answers(serving),
    )
    assert serving.metric("decode-0", 'disagg_kv_blocks{state="active"}') == 0


def test_requests_of_a_decode_that_hangs_are_answered_by_another(serving: Any, config: Path) -> None:
    serving.start_worker("decode-1", "decode", config)
    serving.wait_until("the other has started", lambda: "engine started" in serving.log("decode-1"))
    serving.wait_until(
        "both answer",
        lambda: answers(serving) and serving.metric("decode-1", "disagg_generated_tokens_total") > 0,
    )
    hung = serving.processes["decode-1"]
    hung.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    replies = [serving.chat(QUESTION) for _ in range(6)]
    print(f"six answers in {time.monotonic() - began:.1f} s")
    assert [reply.status_code for reply in replies] == [200] * 6
    assert all("Paris" in reply.json()["choices"][0]["message"]["content"] for reply in replies)
    # Nobody reads what prefill computed for it: the offers expire, and keep no block of others.
    serving.wait_until(
        "prefill has its blocks back",
        lambda: serving.metric("prefill-0", 'disagg_kv_blocks{state="held"}') == 0,
    )
    hung.kill()
    hung.wait()
    serving.wait_until("chat works again, and again", lambda: answers(serving))


def test_decode_finishes_its_streams_on_sigterm(serving: Any) -> None:
    with serving.completion("Count: one, two, three,", max_tokens=150) as response:
        assert response.status_code == 200, response.read()
        lines = response.iter_lines()
        next(lines)
        serving.processes["decode-0"].send_signal(signal.SIGTERM)
        rest = list(lines)
    assert done(rest)
    *_, last = events_of(rest)
    assert last["choices"][0]["finish_reason"] in ("length", "stop")
    assert serving.processes["decode-0"].wait(60) == 0
    assert "Traceback" not in serving.log("decode-0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {path: /nowhere, nmae: x}", "write `name`"),
        ("model: {path: /nowhere, name: x}", "model.path: "),
        ("model: {path: /nowhere, name: x}\ntransfer: {backend: LIBFABRIC}", "model.path: "),
    ],
)
def test_a_bad_configuration_is_told_without_a_trace(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(text)
    command = [
        sys.executable,
        "-m",
        "disagg_worker.main",
        "serve",
        "--role",
        "prefill",
        "--config",
        str(file),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
