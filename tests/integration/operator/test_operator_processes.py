"""Operator processes: quiet when nothing happens, harmless when killed, taking over from each other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.operator.control_plane import (
    LIMIT_SECONDS,
    Api,
    Deployed,
    OperatorProcess,
    eventually,
    gets,
    writes,
)
from testcluster.fixtures import ApiServer

pytestmark = pytest.mark.apiserver

MAKER = Callable[[str], OperatorProcess]


def test_few_writes_until_available_and_none_after(
    api: Api, apiserver: ApiServer, namespace: str, new_operator: MAKER
) -> None:
    operator = new_operator("operator-a")
    operator.wait_until_leading()
    demo = Deployed(api, namespace, "demo")
    demo.create()
    demo.wait_for("Progressing", "Complete")
    time.sleep(2)
    made = writes(apiserver.audit_log, namespace)
    children = sum(
        count for what, count in made.items() if not what.endswith("status") and "events" not in what
    )
    assert children == 9, made
    # A busy machine shows more of the way: each condition that changes is written, and told by Events.
    assert made.total() <= children + 8, made
    read = gets(apiserver.audit_log, namespace)
    assert "get disaggdeployments/" not in read, read
    offset = apiserver.audit_log.stat().st_size
    time.sleep(5)
    assert not writes(apiserver.audit_log, namespace, offset)
    assert operator.stop() == 0, operator.log.read_text()
    again = new_operator("operator-b")
    again.wait_until_leading()
    eventually(lambda: 'reconciles_total{result="done"}' in again.says("/metrics"), "it was reconciled")
    time.sleep(1)
    assert not writes(apiserver.audit_log, namespace, offset), "a restart writes nothing"


@pytest.mark.parametrize("after", [1, 4, 7])
def test_an_operator_killed_in_the_middle_is_continued(
    api: Api, namespace: str, new_operator: MAKER, after: int
) -> None:
    first = new_operator("operator-a")
    first.wait_until_leading()
    demo = Deployed(api, namespace, "demo")
    demo.create()
    while sum(map(len, demo.children().values())) < after:
        time.sleep(0.001)
    first.stop(signal.SIGKILL)
    # The same pod, restarted by the kubelet: it need not wait for its own Lease.
    new_operator("operator-a").wait_until_leading()
    demo.wait_for("Progressing", "Complete")
    assert sum(map(len, demo.children().values())) == 8


def test_the_second_takes_over_when_the_first_is_gone(api: Api, namespace: str, new_operator: MAKER) -> None:
    first = new_operator("operator-a")
    first.wait_until_leading()
    second = new_operator("operator-b")
    eventually(lambda: second.says("/readyz"), "the second is ready to take over")
    assert "disagg_leader 0.0" in second.says("/metrics")
    assert first.stop() == 0
    began = time.monotonic()
    second.wait_until_leading()
    assert time.monotonic() - began < 10, "a released Lease is taken at once"
    demo = Deployed(api, namespace, "demo")
    demo.create()
    demo.wait_for("Progressing", "Complete")


def test_the_second_takes_over_when_the_first_hangs(api: Api, namespace: str, new_operator: MAKER) -> None:
    first = new_operator("operator-a")
    first.wait_until_leading()
    second = new_operator("operator-b")
    eventually(lambda: second.says("/readyz"), "the second stands by")
    assert first.process
    first.process.send_signal(signal.SIGSTOP)
    eventually(lambda: "disagg_leader 1.0" in second.says("/metrics"), "the second leads")
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(LIMIT_SECONDS) == 1, "the one that woke up ends"
    assert "ending: " in first.log.read_text()
    demo = Deployed(api, namespace, "demo")
    demo.create()
    demo.wait_for("Progressing", "Complete")


def test_start_and_stop_are_quick(new_operator: MAKER) -> None:
    operator = new_operator("operator-a")
    operator.wait_until_leading()
    assert operator.process
    # Processor time, because tests share their machine: waiting is no part of it.
    ticks = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") < 12, "about 1 s where nothing else runs"
    began = time.monotonic()
    assert operator.stop() == 0, operator.log.read_text()
    assert time.monotonic() - began < 20, "about 1 s where nothing else runs"


def test_senseless_settings_are_one_line(tmp_path: Path) -> None:
    environment = {"DISAGG_WORKER_IMAGE": "w", "DISAGG_HTTP_PORT": "http", "HOME": str(tmp_path)}
    program = str(Path(sys.executable).with_name("disagg-operator"))
    done = subprocess.run(
        [program], env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("disagg-operator: DISAGG_HTTP_PORT='http': ")
    assert done.stderr.count("\n") == 1
