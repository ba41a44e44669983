"""The worker's process heeds SIGTERM before it loads anything that takes a while."""

import subprocess
import sys

SLOW = ("typer", "pydantic", "numpy", "dynamo", "nixl", "aiohttp")
PROGRAM = f"""
import signal, sys
from disagg_worker import main
slow = {SLOW}
main._run = lambda _: print(callable(signal.getsignal(signal.SIGTERM)), [m for m in slow if m in sys.modules])
main.main()
"""
ENDED = """
import os, signal
from disagg_worker import ending, main
main._run = lambda _: (SERVES and ending.SERVES.set(), os.kill(os.getpid(), signal.SIGTERM), print("goes on"))
main.main()
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_nothing_slow_is_loaded_before_sigterm_is_heeded() -> None:
    assert run(PROGRAM).stdout == "True []\n"


def test_sigterm_ends_what_serves_nothing_and_is_dynamos_afterwards() -> None:
    early, late = (run(ENDED.replace("SERVES and", f"{serves} and")) for serves in (False, True))
    assert (early.returncode, early.stdout) == (143, "")
    assert (late.returncode, late.stdout) == (0, "goes on\n")
