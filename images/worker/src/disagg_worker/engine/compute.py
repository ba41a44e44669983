"""How many threads the process may compute with, and telling the BLAS library so."""

import os
from pathlib import Path

from threadpoolctl import threadpool_limits

CGROUP = Path("/sys/fs/cgroup")


def available_threads(cgroup: Path = CGROUP) -> int:
    """Count the processors that affinity and the cgroup's quota allow.

    Args:
        cgroup: Where the process's control group is mounted, of version 2 or 1.
    """
    allowed = len(os.sched_getaffinity(0))
    quota, period = _quota(cgroup)
    return allowed if quota <= 0 else max(1, min(allowed, -(-quota // period)))


def _quota(cgroup: Path) -> tuple[int, int]:
    """Microseconds of processor time in each period of so many; a quota of 0 or less is none."""
    version_2, version_1 = cgroup / "cpu.max", cgroup / "cpu" / "cpu.cfs_quota_us"
    if version_2.exists():
        quota, period = version_2.read_text(encoding="ascii").split()
        return (0 if quota == "max" else int(quota)), int(period)
    if version_1.exists():
        period = version_1.with_name("cpu.cfs_period_us").read_text(encoding="ascii")
        return int(version_1.read_text(encoding="ascii")), int(period)
    return 0, 1


def limit_threads(threads: int) -> int:
    """Set the number of BLAS threads of this process; 0 takes `available_threads`. Returns the number."""
    count = threads or available_threads()
    threadpool_limits(count, user_api="blas")
    return count
