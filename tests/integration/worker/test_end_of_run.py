"""A run of tests that used NIXL in its own process ends with pytest's exit code, not with a crash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testcluster.paths import REPOSITORY

USES_NIXL = """
import numpy as np
from disagg_worker.memory import Region
from disagg_worker.transfer.agent import open_agent

def test_it():
    memory = np.zeros(1024, np.float32)
    open_agent("alone", "UCX", Region(memory.ctypes.data, memory.nbytes)).close()
    assert {outcome}
"""


@pytest.mark.parametrize(("outcome", "code", "told"), [(True, 0, "1 passed"), (False, 1, "1 failed")])
def test_a_run_with_nixl_keeps_its_outcome(tmp_path: Path, outcome: bool, code: int, told: str) -> None:
    test = tmp_path / "test_nixl.py"
    test.write_text(USES_NIXL.format(outcome=outcome))
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "conftest",
            f"--basetemp={tmp_path / 'base'}",
            str(test),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "tests"), "UCX_TLS": "tcp"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, told in run.stdout) == (code, True), run.stdout + run.stderr
