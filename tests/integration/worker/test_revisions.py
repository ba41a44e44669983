"""Two revisions side by side behind Dynamo's real frontend: which of them it gives requests to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.timeout(1500)
LIMIT = 600.0
"""Seconds in which four workers start on two shared cores."""
REQUESTS = 15


@pytest.fixture(scope="module")
def config(engine_yaml: Callable[..., Path]) -> Path:
    return engine_yaml(kv_cache={"memory_mib": 64})


def start(stack: Any, config: Path, revision: str, *names: str) -> None:
    for name in names:
        role = name.split("-")[0]
        stack.start_worker(f"{name}-{revision}", role, config, DYN_NAMESPACE_WORKER_SUFFIX=revision)


def served(stack: Any, worker: str) -> float:
    return float(stack.metric(worker, 'disagg_requests_total{outcome="ok"'))


def test_a_revision_serves_once_it_has_both_roles_and_only_by_its_own(stack: Any, config: Path) -> None:
    stack.start_frontend()
    start(stack, config, "old", "prefill-0", "decode-0")
    stack.wait_until("the old revision serves", stack.ready, LIMIT)
    start(stack, config, "new", "decode-0")
    stack.wait_until("the new decode worker is known", lambda: "test-new" in known(stack), LIMIT)
    answers = [stack.chat("Say hello.", max_tokens=2) for _ in range(REQUESTS)]
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert served(stack, "decode-0-new") == 0, "without prefill it gets nothing"
    start(stack, config, "new", "prefill-0")
    stack.wait_until("the new revision serves", lambda: takes_part(stack), LIMIT)
    for revision in ("old", "new"):
        # A worker counts a request once its last words are on their way, which may reach the client first.
        stack.wait_until(
            f"prefill and decode of the {revision} revision served the same requests",
            lambda name=revision: alike(
                served(stack, f"prefill-0-{name}"), served(stack, f"decode-0-{name}")
            ),
        )


def alike(prefill: float, decode: float) -> bool:
    return prefill == decode > 0


def known(stack: Any) -> str:
    """Return what the frontend says of the workers that it knows."""
    return httpx.get(f"{stack.url}/health", timeout=60).text


def takes_part(stack: Any) -> bool:
    assert stack.chat("Say hello.", max_tokens=2).status_code == 200
    return served(stack, "decode-0-new") > 0
