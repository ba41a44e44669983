"""An operator process of a test ends with what started it, however that ended."""

import subprocess
import sys
from pathlib import Path

STARTER = """
import sys, time
from pathlib import Path
from integration.operator.control_plane import OperatorProcess

stand_in = "import time; print('running', flush=True); time.sleep(600)"
OperatorProcess(Path("unused"), Path(sys.argv[1]), program=("-c", stand_in)).start()
time.sleep(600)
"""
TESTS = Path(__file__).parents[2]


def test_an_operator_process_ends_with_a_killed_starter(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE) as starter:
        assert starter.stdout
        assert starter.stdout.readline() == b"running\n"
        starter.kill()
        # Both write to this pipe, so that it ends with the later of the two.
        assert starter.communicate(timeout=60)[0] == b""
