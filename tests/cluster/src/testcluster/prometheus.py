"""Prometheus and promtool for tests: those on PATH, else Debian's, unpacked beside the other tools.

Invariant: nothing is installed. Debian's package would start a server that scrapes this machine.
"""

import os
import shutil
from pathlib import Path

from testcluster.commands import logged
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.locking import exclusive
from testcluster.paths import Paths
from testcluster.toolchain import Tools

REMEDY = "install Prometheus, with promtool (Debian: sudo apt-get install prometheus)"


def ensure_prometheus(paths: Paths, progress: Progress) -> Tools:
    """Return `prometheus` and `promtool`.

    Raises:
        ClusterError: If they are not on PATH, and Debian's package cannot be had.
    """
    found, tool = shutil.which("prometheus"), shutil.which("promtool")
    if found and tool and Path(found).parent == Path(tool).parent:
        return Tools(Path(found).parent)
    directory = paths.cache / "tools" / f"prometheus-{os.uname().machine}"
    with exclusive(paths.cache / "prometheus.lock", lambda: progress.note("Another run gets Prometheus …")):
        if not directory.is_dir():
            _unpack(directory, paths.build_logs / "apt.log", progress)
    return Tools(directory)


def _unpack(directory: Path, log: Path, progress: Progress) -> None:
    if shutil.which("apt-get") is None:
        raise ClusterError("promtool and prometheus, which tests need, are not on PATH", remedy=REMEDY)
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with progress.step("Unpack Debian's package prometheus"):
        if os.geteuid() == 0:
            logged(["apt-get", "update", "-q"], log)
        try:
            logged(["apt-get", "download", "-q", "prometheus"], log, cwd=partial)
        except ClusterError as error:
            raise ClusterError(str(error), remedy=REMEDY, log=log) from None
        (package,) = partial.glob("prometheus_*.deb")
        logged(["dpkg-deb", "-x", str(package), str(partial)], log)
    (partial / "usr/bin").rename(directory)
    shutil.rmtree(partial)
