"""How many threads the process may compute with, and telling the BLAS library so."""

import os
from pathlib import Path

from threadpoolctl import threadpool_limits

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def available_threads(cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """Count the processors that affinity and the cgroup's quota allow.

    Args:
        cpu_max: The cgroup's (version 2) quota and period in microseconds; "max" means no quota.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
    except OSError:
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, -(-int(quota) // int(period))))


def limit_threads(threads: int) -> int:
    """Set the number of BLAS threads of this process; 0 takes `available_threads`. Returns the number."""
    count = threads or available_threads()
    threadpool_limits(count, user_api="blas")
    return count
