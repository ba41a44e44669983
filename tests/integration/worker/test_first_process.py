"""A worker that is the first process of its container heeds SIGTERM however early it comes.

The kernel drops a signal to the first process of a PID namespace for which that has no handler.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.worker.stack import Stack

ROOTLESS = () if os.geteuid() == 0 else ("--user", "--map-root-user")
FIRST = ("unshare", *ROOTLESS, "--pid", "--fork", "--kill-child")
"""Runs a program as the first process of a PID namespace of its own."""
SECONDS = 15


def first_of(pid: int) -> int:
    """Return the process that `unshare` started, 0 while there is none."""
    return int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or ["0"])[0])


def is_heeding(pid: int) -> bool:
    """Tell whether a process has a handler for SIGTERM by now."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("after", [0.0, 1.0, 2.5, 5.0])
def test_a_worker_ends_soon_whenever_it_is_asked_to_while_it_starts(
    stack: Stack, engine_yaml: Callable[..., Path], after: float
) -> None:
    config = engine_yaml(transfer={"timeout_seconds": 20}, kv_cache={"memory_mib": 128})
    name = f"prefill-{after}"
    stack.start_worker(name, "prefill", config, FIRST)
    process = stack.processes[name]
    first = until(lambda: first_of(process.pid))
    until(lambda: is_heeding(first))
    time.sleep(after)
    os.kill(first, signal.SIGTERM)
    assert process.wait(SECONDS) in {0, 128 + signal.SIGTERM}, stack.log(name)[-2000:]


def until(found: Callable[[], int]) -> int:
    """Return what is found once it is there."""
    end = time.monotonic() + SECONDS
    while not (here := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return here
