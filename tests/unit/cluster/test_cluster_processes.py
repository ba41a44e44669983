"""Processes are found again and ended by identity: never another one that got the same id."""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from testcluster.errors import ClusterError
from testcluster.processes import Supervisor, start_ticks
from testcluster.waiting import wait_for


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "pids", tmp_path / "logs")
    yield made
    for name in made.names():
        made.stop(name, grace_seconds=1)


def test_start_time_is_read_past_a_name_with_spaces_and_parentheses() -> None:
    fields = " ".join(str(number) for number in range(4, 30))
    assert start_ticks(f"12 (a b) c) S {fields}") == 22


def test_a_zombie_counts_as_gone() -> None:
    fields = " ".join(str(number) for number in range(4, 30))
    assert start_ticks(f"12 (x) Z {fields}") is None


def test_a_second_ensure_leaves_the_process_and_other_arguments_replace_it(supervisor: Supervisor) -> None:
    assert supervisor.ensure("sleeper", ["sleep", "60"])
    first = supervisor.pid("sleeper")
    assert not supervisor.ensure("sleeper", ["sleep", "60"])
    assert supervisor.pid("sleeper") == first
    assert supervisor.ensure("sleeper", ["sleep", "61"])
    assert supervisor.pid("sleeper") not in {None, first}


def test_a_process_that_died_is_started_again(supervisor: Supervisor) -> None:
    supervisor.ensure("sleeper", ["sleep", "60"])
    pid = supervisor.pid("sleeper")
    assert pid is not None
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert not supervisor.alive("sleeper")
    assert supervisor.ensure("sleeper", ["sleep", "60"])


def test_a_lock_that_the_caller_was_started_under_is_not_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)
        supervisor.ensure("sleeper", ["sleep", "60"])
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert supervisor.alive("sleeper")


def test_stop_spares_a_stranger_with_the_recorded_id(supervisor: Supervisor) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        supervisor.ensure("sleeper", ["sleep", "60"])
        record = supervisor.record("sleeper")
        assert record is not None
        supervisor.stop("sleeper", grace_seconds=1)
        # As if the id had been given to the stranger since then: the start time differs.
        stale = replace(record, pid=stranger.pid, started=record.started - 100)
        (supervisor.directory / "sleeper.json").write_text(json.dumps(asdict(stale)))
        supervisor.stop("sleeper", grace_seconds=1)
        assert stranger.poll() is None
        stranger.kill()


def test_a_record_of_another_boot_names_no_process(supervisor: Supervisor) -> None:
    supervisor.ensure("sleeper", ["sleep", "60"])
    record = supervisor.record("sleeper")
    assert record is not None
    path = supervisor.directory / "sleeper.json"
    path.write_text(json.dumps(asdict(replace(record, boot="another"))))
    assert not supervisor.alive("sleeper")
    path.write_text(json.dumps(asdict(record)))


def test_a_process_whose_starter_was_killed_before_noting_its_id_is_found(supervisor: Supervisor) -> None:
    argv = ["sleep", f"60.{os.getpid()}"]
    supervisor.ensure("sleeper", argv)
    record = supervisor.record("sleeper")
    assert record is not None
    (supervisor.directory / "sleeper.json").write_text(json.dumps(asdict(replace(record, pid=0, started=0))))
    assert supervisor.pid("sleeper") == record.pid


def test_stop_forces_a_process_that_ignores_the_request(supervisor: Supervisor) -> None:
    supervisor.ensure("stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
    log = supervisor.log("stubborn")
    wait_for(supervisor, "stubborn", lambda: "ready" in log.read_text(), seconds=5)
    supervisor.stop("stubborn", grace_seconds=0.3)
    assert not supervisor.alive("stubborn")
    assert supervisor.names() == []


def test_waiting_ends_at_once_when_the_process_died_and_names_its_log(supervisor: Supervisor) -> None:
    supervisor.ensure("failing", ["sh", "-c", "sleep 0.2; exit 1"])
    with pytest.raises(ClusterError, match="ended while it was starting") as caught:
        wait_for(supervisor, "failing", lambda: False, seconds=20)
    assert caught.value.log == supervisor.log("failing")
