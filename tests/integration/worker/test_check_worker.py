"""The check before an engine starts, by real NIXL: a backend that starts, and one that lacks a library."""

import json
import subprocess
import sys
from typing import Any

import pytest

from disagg_operator.plan.programs import check_worker

pytestmark = pytest.mark.timeout(120)


def checked(backend: str) -> dict[str, Any]:
    """Make the check in a process of its own and return its result."""
    program = (
        "import sys; from disagg_operator.plan.programs import check_worker as c; "
        "print(c.message([c.result('nixlBackend', sys.argv[1])]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, backend], capture_output=True, text=True, check=True
    )
    found: dict[str, Any]
    (found,) = json.loads(ended.stdout)["preflight"]
    return found


def test_ucx_starts() -> None:
    found = checked("UCX")
    assert (found["ok"], found["says"]) == (True, "UCX starts")


def test_the_loaders_reason_comes_out() -> None:
    # No CUDA here, which this plugin of the wheel needs; NIXL hides the reason unless told to say it.
    found = checked("LIBFABRIC")
    assert found["ok"] is False
    assert "Failed to load plugin from" in found["says"]
    assert "cannot open shared object file" in found["says"]
    assert check_worker.REMEDY in found["says"]
