"""Prometheus and promtool for tests: those on PATH, else Debian's, unpacked beside the other tools.

Invariants: nothing is installed (Debian's package would start a server that scrapes this machine); a server
that is started here ends with the block that asked for it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from testcluster.commands import logged
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.locking import exclusive
from testcluster.paths import Paths
from testcluster.ports import free_ports
from testcluster.processes import Supervisor
from testcluster.toolchain import Tools
from testcluster.waiting import wait_for

REMEDY = "install Prometheus, with promtool (Debian: sudo apt-get install prometheus)"
START_SECONDS = 60.0

Series = dict[str, Any]
"""A series of an answer: `metric`, its labels, and `value` or `values`."""


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, by its HTTP API."""

    http: httpx.Client

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer, which must be a success without warnings.

        Raises:
            ClusterError: it is none.
        """
        answer = self.http.get(f"/api/v1/{path}", params=parameters).json()
        if answer["status"] != "success" or answer.get("warnings"):
            raise ClusterError(f"Prometheus answers {path} {parameters} with {answer}")
        return answer["data"]

    def series(self, query: str) -> list[Series]:
        """Return the series that a query has now."""
        found: list[Series] = self.ask("query", query=query)["result"]
        return found

    def over(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Return the series that a query has over a time, in seconds since 1970."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found: list[Series] = self.ask("query_range", query=query, **times)["result"]
        return found

    def rules(self) -> dict[str, Series]:
        """Return the alerts by name."""
        return {rule["name"]: rule for group in self.ask("rules")["groups"] for rule in group["rules"]}


@contextmanager
def prometheus_running(
    tools: Tools, directory: Path, config: Mapping[str, Any], rules: Mapping[str, Any] | None = None
) -> Iterator[Prometheus]:
    """Run a Prometheus within the block, which begins once it answers.

    Args:
        tools: has `prometheus`.
        directory: where its data, settings and log lie.
        config: its settings, without files of rules.
        rules: groups of rules that it evaluates.

    Raises:
        ClusterError: it does not start.
    """
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules or {"groups": []}))
    whole = {**config, "rule_files": ["rules.yaml"]}
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(whole))
    (port,) = free_ports(1)
    supervisor = Supervisor(directory / "pids", directory / "logs", bound=True)
    supervisor.ensure(
        "prometheus",
        [
            tools.path("prometheus"),
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
        try:
            wait_for(supervisor, "prometheus", lambda: _ready(http), seconds=START_SECONDS)
            yield Prometheus(http)
        finally:
            supervisor.stop("prometheus")


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/-/ready").is_success
    except httpx.TransportError:
        return False


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
