"""What a figure holds for: the machine, the versions and the day."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

from testcluster.paths import REPOSITORY
from testcluster.toolchain import KUBERNETES, PLATFORM_PARTS, module_version

_GIGABYTE = 1e9


def circumstances() -> dict[str, str]:
    """Return what was measured, on what and when, by words."""
    processors = re.search(r"^model name\s*: (.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIGABYTE
    return {
        "revision": _revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores of {processors[1] if processors else platform.machine()}, "
        f"{memory:.0f} GB, Linux {platform.release()}",
        "Python": platform.python_version(),
        "Kubernetes": module_version(KUBERNETES.go_mod, "k8s.io/kubernetes"),
        "KWOK": module_version(PLATFORM_PARTS.go_mod, "sigs.k8s.io/kwok"),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _revision() -> str:
    argv = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
