"""Benchmark of the transport agent: `make bench-agent`. It needs no cluster.

The agent runs beside a process that has real NIXL loaded, on the simulated /sys of a node with 32 EFA devices
(a p5.48xlarge). The exit status is 1 when a target was missed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.engine.table import Output, Row, report
from unit.worker_agent.simulated import EFA_COUNTERS, Node

ENGINE = Path(__file__).parents[1] / "integration" / "worker" / "nixl_process.py"
EFA_DEVICES, EFA_COUNTERS_EACH = 32, 26
TARGET_MEMORY_MB, TARGET_IDLE_PERCENT, TARGET_SCRAPED_PERCENT = 40.0, 0.5, 0.5
SCRAPE_SECONDS = 15.0
READINGS = 30


def main(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    idle_seconds: Annotated[float, typer.Option(min=1, help="How long the idle agent is watched.")] = 60.0,
) -> None:
    """Measure the agent's memory, its CPU time while idle, and the cost of one answer."""
    notes = Console(stderr=True)
    with tempfile.TemporaryDirectory() as directory, _engine() as engine:
        node = _node(Path(directory), engine)
        with _agent(node) as (pid, url):
            first = httpx.get(f"{url}/evidence").json()
            counted = sum(len(device["counters"]) for device in first["devices"])
            notes.print(f"[dim]{counted} counters, {len(first['processes'])} process with NIXL[/dim]")
            health, health_cpu = _cost(pid, f"{url}/health")
            evidence, evidence_cpu = _cost(pid, f"{url}/evidence")
            metrics, metrics_cpu = _cost(pid, f"{url}/metrics")
            notes.print(f"[dim]idle for {idle_seconds:g} s[/dim]")
            before = _cpu_seconds(pid)
            time.sleep(idle_seconds)
            idle = 100 * (_cpu_seconds(pid) - before) / idle_seconds
            memory = _peak_megabytes(pid)
    scraped = 100 * metrics_cpu / SCRAPE_SECONDS
    rows = [
        Row("peak memory (RSS)", memory, "target", TARGET_MEMORY_MB, "MB", 1.0, upper=True),
        Row("CPU, idle", idle, "target", TARGET_IDLE_PERCENT, "% of a core", 1.0, upper=True),
        Row(
            "CPU, scraped every 15 s",
            scraped,
            "target",
            TARGET_SCRAPED_PERCENT,
            "% of a core",
            1.0,
            upper=True,
        ),
        Row("/evidence", evidence * 1000, "/health", health * 1000, "ms"),
        Row("/evidence, CPU", evidence_cpu * 1000, "/health, CPU", health_cpu * 1000, "ms"),
        Row("/metrics", metrics * 1000, "/health", health * 1000, "ms"),
        Row("/metrics, CPU", metrics_cpu * 1000, "/health, CPU", health_cpu * 1000, "ms"),
    ]
    report(rows, output, "Transport agent")


@contextmanager
def _engine() -> Iterator[int]:
    """Start a process with NIXL and its UCX plugin loaded."""
    command = [sys.executable, str(ENGINE), "--backend", "UCX", "--bytes", str(1 << 20)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("{}\n")
        process.stdin.flush()
        answer = next(line for line in process.stdout if line.startswith("{"))
        yield json.loads(answer)["pid"]
        process.kill()


def _node(directory: Path, engine: int) -> Node:
    node = Node(directory)
    (node.proc / "net").rmdir()
    (node.proc / "net").symlink_to("/proc/net")
    (node.proc / str(engine)).symlink_to(f"/proc/{engine}")
    more = {f"simulated_{number}": number for number in range(EFA_COUNTERS_EACH - len(EFA_COUNTERS) + 1)}
    for number in range(EFA_DEVICES):
        node.device(f"rdmap{number}s0", uverbs=number, hw_counters=EFA_COUNTERS | more)
    return node


@contextmanager
def _agent(node: Node) -> Iterator[tuple[int, str]]:
    command = [sys.executable, "-m", "disagg_worker.main", "agent", "--port", "0"]
    roots = ["--sys-root", str(node.sys), "--proc-root", str(node.proc)]
    with subprocess.Popen([*command, *roots], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = process.stdout.readline().split()[-1]
        yield process.pid, f"http://127.0.0.1:{port}"
        process.terminate()


def _cost(pid: int, url: str) -> tuple[float, float]:
    """Return the median time of an answer and the CPU time of one, in seconds."""
    times = []
    before = _cpu_seconds(pid)
    with httpx.Client(timeout=30) as client:
        for _ in range(READINGS):
            begin = time.monotonic()
            client.get(url).raise_for_status()
            times.append(time.monotonic() - begin)
    return median(times), (_cpu_seconds(pid) - before) / READINGS


def _cpu_seconds(pid: int) -> float:
    """Sum the CPU time of a process's threads, those that have ended included (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) * 1024 / 1e6


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
