"""An engine that hangs without a word is found by Dynamo's own health check, which the kubelet's probe reads.

The worker's runtime, its health check and the frontend are Dynamo's; SIMULATED is the engine
(`hanging_process.py`), which computes the health check's request as TensorRT-LLM does.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, HttpProbe
from disagg_operator.plan.planner import plan
from integration.worker.stack import Stack, free_port
from unit.deployments import deployment_of

pytestmark = pytest.mark.timeout(400)
TESTS = Path(__file__).parents[2]
PROGRAM = str(Path(__file__).with_name("hanging_process.py"))
SLOW = 1.0
"""Seconds for each token of the slow engine: a third of what Dynamo's health check waits for."""


def liveness() -> HttpProbe:
    """The probe by which the kubelet judges a worker of TensorRT-LLM."""
    pod = (
        plan(accept(deployment_of({"runtime": {"engine": "trtllm"}})), Installation("w:1")).roles[DECODE].pod
    )
    assert isinstance(pod.liveness, HttpProbe)
    return pod.liveness


def well(stack: Stack) -> bool:
    """Whether the worker passes that probe once."""
    probe = liveness()
    port = stack.health_ports["worker"]
    try:
        return httpx.get(f"http://127.0.0.1:{port}{probe.path}", timeout=30).is_success
    except httpx.ConnectError:  # it has not begun to listen
        return False


@pytest.fixture(scope="module")
def hangs(stack: Stack, model_dir: Path) -> Path:
    """The file that makes the engine of the one worker hang."""
    file = stack.directory / "hangs"
    stack.health_ports["worker"] = free_port()
    stack.start_frontend()
    stack.start(
        "worker",
        [PROGRAM, str(model_dir), str(SLOW), str(file)],
        DYN_SYSTEM_PORT=str(stack.health_ports["worker"]),
        PYTHONPATH=str(TESTS),
    )
    stack.wait_until("it serves, and says so", lambda: stack.ready() and well(stack))
    return file


def test_an_engine_that_is_slow_is_not_taken_for_one_that_hangs(stack: Stack, hangs: Path) -> None:
    assert not hangs.exists()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(stack.chat, "Count to twelve.")
        seen = []
        while not asked.done():
            seen.append(well(stack))
            time.sleep(0.2)
    assert asked.result().status_code == 200
    assert asked.result().json()["usage"]["completion_tokens"] == 12
    assert len(seen) > 5
    assert all(seen)


def test_an_engine_that_hangs_with_a_request_fails_its_probe_until_it_goes_on(
    stack: Stack, hangs: Path
) -> None:
    with ThreadPoolExecutor(1) as pool:
        hangs.touch()
        try:
            began = time.monotonic()
            asked = pool.submit(stack.chat, "Say hello.")
            stack.wait_until("the probe fails", lambda: not well(stack), 90)
            print(f"the probe fails after {time.monotonic() - began:.1f} s")
            for _ in range(20):
                assert not well(stack), "and goes on to do so, which ends the container"
                time.sleep(0.2)
            assert not asked.done()
        finally:
            hangs.unlink()
        assert asked.result().status_code == 200
    stack.wait_until("the probe passes again", lambda: well(stack), 60)


def test_what_the_kubelet_ends_for_it_is_not_waited_for() -> None:
    probe = liveness()
    assert probe.failures * probe.period == 60
    assert probe.grace == 30, "the requests that it holds would be waited for otherwise, which never end"
