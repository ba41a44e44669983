"""Bytes of NVLink, read by a short-lived process.

NVML keeps 15 MB and a thread in a process that has once started it, and a driver in trouble may keep it
waiting: neither is wanted in an agent that is idle nearly always.
"""

import json
import subprocess
import sys
from pathlib import Path

from disagg_worker.agent.evidence import Link, NvLink

LIBRARY = "libnvidia-ml.so.1"
CONTROL = Path("/dev/nvidiactl")
TIMEOUT_SECONDS = 8.0


def read_nvlink(library: str = LIBRARY, control: Path = CONTROL) -> NvLink:
    """Read every active link of every GPU that this container may see.

    Args:
        library: NVML, as the dynamic loader takes it.
        control: The driver's control device; without it nothing is started.
    """
    if not control.exists():
        return NvLink(False, f"this container was given no GPU (no {control})")
    command = [sys.executable, "-m", "disagg_worker.agent.nvml", library]
    try:
        read = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return NvLink(False, f"NVML did not answer within {TIMEOUT_SECONDS:g} s")
    if read.returncode:
        return NvLink(False, _last_line(read.stderr) or f"NVML ended its process ({read.returncode})")
    links = tuple(Link(*link) for link in json.loads(read.stdout))
    return NvLink(True, "", links) if links else NvLink(False, "no GPU here has an active NVLink")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
