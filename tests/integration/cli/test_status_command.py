"""``kubectl disagg status`` on a real API server; the operator's part is played by the test."""

import json
import os
import pty
import select
import time
from collections.abc import Callable

import pytest
import yaml

from integration.cli.program import OperatorsPart, Program
from integration.cli.workload import answering, make_pod, serving
from integration.operator.control_plane import Api

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]

HEIGHT = 10
EVIDENCE = {"devices": [{"name": "rdmap0", "given": True, "counters": {"rx_bytes": 2_000_000_000}}]}


def test_all_deployments_are_rows_and_the_exit_code_says_that_no_operator_told(
    disagg: Program, namespace: str
) -> None:
    # In a pipe, --watch shows it once.
    found = disagg("status", "--watch")
    assert found.code == 2, found.complaint
    heading, row = found.output.splitlines()
    assert heading.split()[:2] == ["Name", "Platform"]
    assert row.split()[:4] == ["demo", "local", "0/0", "0/0"]
    assert "NotSeen for " in row
    (told,) = yaml.safe_load(disagg("status", "-o", "yaml").output)
    assert (told["name"], told["namespace"]) == ("demo", namespace)
    everywhere = json.loads(disagg("status", "-A", "-o", "json").output)
    assert (namespace, "demo") in [(each["namespace"], each["name"]) for each in everywhere]


def test_one_deployment_is_told_with_its_pods_and_what_their_agents_see(
    api: Api, disagg: Program, namespace: str
) -> None:
    OperatorsPart(api, namespace).ready(prefill=0)
    with serving(answering(EVIDENCE)) as port:
        pod = make_pod(api, namespace, "decode", port)
        found = disagg("status", "demo", "--nics", "-o", "json")
        told = json.loads(found.output)
        (seen,) = told["pods"]
        assert (seen["name"], seen["ready"], seen["devices"]) == (pod, True, {"vpc.amazonaws.com/efa": 4})
        assert seen["nics"][0]["rxBytes"] == 2_000_000_000
        assert (told["roles"]["prefill"]["ready"], told["roles"]["decode"]["ready"]) == (0, 1)
    text = disagg("status", "demo", "--nics")
    (row,) = [line for line in text.output.splitlines() if line.startswith(pod)]
    assert "4 vpc.amazonaws.com/efa; the agent cannot be asked" in row


def test_watching_shows_what_a_terminal_has_room_for_and_says_what_it_has_not(
    disagg: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TERM": "xterm", "LINES": str(HEIGHT), "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    controller, terminal = pty.openpty()
    watching = disagg.start("status", "demo", "--watch", "--every", "1s", output=terminal)
    os.close(terminal)
    shown, end = "", time.monotonic() + 60
    # Twice: what was shown first is replaced.
    while shown.count(" more lines: ") < 2 and time.monotonic() < end:
        if select.select([controller], [], [], 1)[0]:
            shown += os.read(controller, 1 << 16).decode(errors="replace")
    watching.send_signal(2)
    ended = disagg.finish(watching)
    os.close(controller)
    first, _, _ = shown.partition(" more lines: ")
    assert "waits for" in first
    assert first.count("\n") == HEIGHT - 1
    assert shown.count(" more lines: ") >= 2
    assert ended.code == 130


def test_who_may_not_read_is_told_what_to_ask_for(user: Callable[..., Program]) -> None:
    found = user()("status")
    assert found.code == 3
    assert (
        "ask your administrator for the RBAC verb 'list' on 'disaggdeployments.disagg.dev'" in found.complaint
    )
