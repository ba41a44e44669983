"""Workers whose engine says that they are broken until they are started anew: ended, with the reason."""

import itertools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.plan.programs import watch_output
from disagg_operator.plan.programs.watch_output import WEDGED, Lines
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import planned

PROGRAM = str(Path(watch_output.__file__))
# The line of TensorRT-LLM, as the description of Dynamo's pull request 9434 quotes it.
POISONED = (
    "[TensorRT-LLM][ERROR] Cannot assign cache transfer buffer kind=kv because a previous transfer left the "
    "buffer pool poisoned. The process must restart before these memory ranges can be safely reused."
)
# Of one request, or of the other side: no reason to restart anything.
HARMLESS = (
    "[TensorRT-LLM][ERROR] Error occurred during generation transfer for request 4113: Broken promise",
    "Error in kv cache transfer for generation requests",
    "[TensorRT-LLM][WARNING] Unsupported NIXL backend: X, fallback to UCX",
)


def watched(program: str, *, seconds: float = 30, patterns: tuple[str, ...] = ("poisoned",)) -> list[str]:
    return [sys.executable, PROGRAM, str(seconds), *patterns, "--", sys.executable, "-u", "-c", program]


def run(program: str, *, seconds: float = 30) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(watched(program, seconds=seconds), capture_output=True, timeout=120, check=False)


def test_output_and_exit_code_of_a_healthy_worker_pass() -> None:
    done = run(r"import os; os.write(1, b'out\xff\n' * 40000 + b'end'); os.write(2, b'err\n'); os._exit(7)")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\xff\n" * 40000 + b"end", b"err\n")


def test_a_worker_that_says_so_is_asked_to_end_and_finishes_what_it_does() -> None:
    done = run(
        "import signal, sys, time\n"
        "def end(*_):\n    print('finished', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('the pool is poisoned', file=sys.stderr, flush=True)\n"
        "time.sleep(60)"
    )
    assert done.returncode == WEDGED
    assert done.stdout == b"finished\n"
    assert b"its log says: the pool is poisoned" in done.stderr


def test_one_that_does_not_end_is_killed() -> None:
    begun = time.monotonic()
    done = run(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('poisoned', flush=True); time.sleep(90)",
        seconds=0.2,
    )
    assert done.returncode == WEDGED
    assert time.monotonic() - begun < 60


def test_the_reason_is_the_containers_termination_message(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    program = (
        f"import sys; from pathlib import Path; from disagg_operator.plan.programs import watch_output as w\n"
        f"w.TERMINATION_MESSAGE = Path({str(file)!r})\n"
        "sys.exit(w.main(['5', 'poisoned', '--', 'sh', '-c', 'echo poisoned pool; sleep 60']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert done.returncode == WEDGED, done.stderr
    assert file.read_text() == f"{watch_output.MESSAGE}poisoned pool"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_worker(number: signal.Signals) -> None:
    program = (
        "import signal, sys, time\n"
        "for each in (signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(each, lambda n, _: sys.exit(n + 50))\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(watched(program), stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == number + 50


def test_a_worker_that_was_killed_ends_as_a_shell_would_tell() -> None:
    assert run("import os; os.kill(os.getpid(), 9)").returncode == 128 + 9


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_lines_are_the_same_however_they_come(data: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    lines = Lines()
    found = [line for a, b in itertools.pairwise(places) for line in lines.feed(data[a:b])]
    assert found == [line.decode(errors="replace").strip() for line in data.split(b"\n")[:-1]]


def test_endless_lines_take_no_memory() -> None:
    lines = Lines()
    assert not list(lines.feed(b"x" * (1 << 20)))
    (line,) = lines.feed(b"\n")
    assert len(line) <= 1 << 12


@pytest.mark.parametrize("version", builtin().runtimes["dynamo"])
def test_only_words_that_name_a_restart_count(version: str) -> None:
    release = builtin().runtimes["dynamo"][version].engines["trtllm"]
    patterns = [re.compile(each.pattern) for each in release.wedged]
    assert watch_output.broken(POISONED, patterns)
    assert watch_output.broken("Poisoned recv cache transfer buffer kind=kv", patterns)
    assert not [line for line in HARMLESS if watch_output.broken(line, patterns)]


def test_trtllm_workers_are_watched_unless_it_is_switched_off() -> None:
    role = planned(transfer={"timeoutSeconds": 45}).roles["decode"]
    assert role.pod.command[:3] == ("python3", "/etc/disagg/watch_output.py", "45")
    assert role.pod.command[role.pod.command.index("--") + 1 :][:3] == ("python3", "-m", "dynamo.trtllm")
    compile(role.files["watch_output.py"], "watch_output.py", "exec")
    off = planned(transfer={"restartWedged": False}).roles["decode"]
    assert off.pod.command[:3] == ("python3", "-m", "dynamo.trtllm")
    assert "watch_output.py" not in off.files


def test_the_reference_engine_recovers_by_itself_and_is_not_watched() -> None:
    runtime = {"engine": "reference", "frontend": "dynamo"}
    model = {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}}
    role = planned("local", runtime=runtime, model=model, prefill={}, decode={}).roles["decode"]
    assert "watch_output.py" not in role.files
    assert role.pod.command[0] == "disagg-worker"
