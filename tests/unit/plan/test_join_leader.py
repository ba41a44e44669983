"""The program that starts an engine on one of several nodes, run as a pod runs it."""

import socket
import subprocess
import sys
from pathlib import Path

from disagg_operator.plan.launch.meeting import JOIN
from disagg_operator.plan.programs.source import script

PRINT = (sys.executable, "-c", "import sys; print(' '.join(sys.argv[1:]))")


def joined(tmp_path: Path, rank: int, port: int, seconds: int = 60) -> subprocess.CompletedProcess[str]:
    program = tmp_path / JOIN
    program.write_text(script(JOIN))
    return subprocess.run(
        [sys.executable, program, str(port), str(seconds), "--headless", "--", *PRINT, "engine"],
        env={"DISAGG_NODE_RANK": str(rank), "DISAGG_LEADER": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_first_node_waits_for_nobody_and_gets_no_word_of_the_others(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = joined(tmp_path, 0, port)
    assert (run.returncode, run.stdout) == (0, "engine\n")


def test_another_node_waits_until_the_first_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        run = joined(tmp_path, 1, first.getsockname()[1])
    assert (run.returncode, run.stdout) == (0, "engine --headless\n")


def test_who_is_missing_is_told_once_the_wait_is_over(tmp_path: Path) -> None:
    # Nothing listens on a port that is bound and not listened on, and nobody else can take it.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        run = joined(tmp_path, 1, taken.getsockname()[1], seconds=0)
    assert run.returncode == 1
    assert "the first node of this model instance, is missing" in run.stderr
