"""What the demo shows, from what the cluster says."""

from collections import Counter
from typing import Any

import pytest

from testcluster.chat import events_of, pieces_of
from testcluster.demo import chart_values, is_ready, summary
from testcluster.errors import ClusterError
from testcluster.evidence import moved_between, read_bytes, sentence

METRICS = """# TYPE disagg_kv_read_bytes_total counter
disagg_kv_read_bytes_total{backend="UCX",transport="tcp/eth0"} 1.048576e+06
disagg_kv_read_bytes_total{backend="UCX",transport="unknown"} 0.0
# TYPE disagg_requests_total counter
disagg_requests_total{role="decode",outcome="ok"} 3.0
"""


def deployment(status: str, observed: int = 2) -> dict[str, Any]:
    condition = {"type": "Available", "status": status, "reason": "R", "observedGeneration": observed}
    return {"metadata": {"generation": 2}, "status": {"conditions": [condition]}}


def test_bytes_are_summed_over_pods_and_compared_with_before() -> None:
    before, after = read_bytes([METRICS]), read_bytes([METRICS, METRICS])
    assert moved_between(before, after) == {("UCX", "tcp/eth0"): 1_048_576}


def test_the_result_says_how_many_bytes_moved_over_what() -> None:
    assert "1,048,576 bytes over UCX (tcp/eth0)" in sentence(Counter({("UCX", "tcp/eth0"): 1_048_576}))
    assert "No KV bytes moved" in sentence(Counter())


@pytest.mark.parametrize(
    ("value", "ready"),
    [(deployment("True"), True), (deployment("False"), False), (deployment("True", 1), False)],
)
def test_ready_means_available_and_said_of_the_present_spec(value: dict[str, Any], ready: bool) -> None:
    assert is_ready(value) is ready


def test_a_waiting_pod_is_shown_with_its_reason() -> None:
    pod = {
        "metadata": {"name": "p"},
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"ready": False, "state": {"waiting": {"reason": "ErrImagePull"}}}],
        },
    }
    assert summary(deployment("False"), [pod]) == {
        "condition Available": "False (R)",
        "pod p": "ErrImagePull",
    }


def test_a_message_of_two_conditions_is_shown_once() -> None:
    conditions = [
        {"type": kind, "status": "False", "reason": "RolesNotReady", "message": "prefill: 0 of 1 ready."}
        for kind in ("Available", "Progressing")
    ]
    assert summary({"status": {"conditions": conditions}}, []) == {
        "condition Available": "False (RolesNotReady): prefill: 0 of 1 ready.",
        "condition Progressing": "False (RolesNotReady)",
    }


def test_the_chart_gets_both_images() -> None:
    values = chart_values({"operator": "disagg.local/operator:1", "worker": "disagg.local/worker:2"})
    assert "--set-string=image.repository=disagg.local/operator" in values
    assert "--set-string=image.tag=1" in values
    assert "--set-string=worker.image=disagg.local/worker:2" in values


def test_pieces_of_a_streamed_answer() -> None:
    lines = [
        'data: {"choices": [{"delta": {"role": "assistant"}}]}',
        ": keep-alive",
        'data: {"choices": [{"delta": {"content": "Par"}}]}',
        'data: {"choices": [], "usage": {"prompt_tokens": 3}}',
        "data: [DONE]",
    ]
    events = list(events_of(lines))
    assert [piece for event in events for piece in pieces_of(event)] == ["Par"]
    assert events[-1]["usage"] == {"prompt_tokens": 3}
    with pytest.raises(ClusterError, match="overloaded"):
        list(events_of(['data: {"error": "overloaded"}']))
