"""What a process uses: CPU time and memory, read from Linux' /proc."""

import os
import re
from pathlib import Path

_MEGABYTE = 1e6
_KIBIBYTE = 1024
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process since its start, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(pid: int) -> tuple[float, float]:
    """Return resident and proportional set size of a process in 10^6 bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    resident, shared = (
        int(found[1]) * _KIBIBYTE / _MEGABYTE
        for name in ("Rss", "Pss")
        if (found := re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE))
    )
    return resident, shared


def peak(pid: int) -> float:
    """Return the largest resident set size that a process ever had, in 10^6 bytes."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * _KIBIBYTE / _MEGABYTE if found else 0.0
