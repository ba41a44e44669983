"""The transport agent beside real NIXL: libraries, bytes of the network, NIXL's telemetry and UCX's tables.

Both sides of a transfer and the agent share a network namespace of their own, so that nobody else's bytes are
in its counters, as in a pod.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from unit.worker_agent.contract import EVIDENCE

NIXL = str(Path(__file__).with_name("nixl_process.py"))
SIZE = 8 << 20
TELEMETRY_PORT = 9400


class Pod:
    """A network namespace, and a /proc that shows the processes that run in it.

    Args:
        directory: Where /proc is made up of links to the real one.
    """

    def __init__(self, directory: Path) -> None:
        self.proc = directory / "proc"
        self.proc.mkdir()
        (self.proc / "net").symlink_to("/proc/net")
        self._holder = subprocess.Popen(
            ["unshare", "-rn", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == "ready\n", "no network namespace can be made here"

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command in the namespace."""
        enter = ["nsenter", "-t", str(self._holder.pid), "-n", "-U", "--preserve-credentials"]
        return [*enter, *command]

    def show(self, pid: int) -> None:
        """Let the agent see a process."""
        (self.proc / str(pid)).symlink_to(f"/proc/{pid}")

    def evidence(self, *options: str) -> dict[str, Any]:
        """Run the agent once; what it says fits the contract."""
        command = [
            sys.executable,
            "-m",
            "disagg_worker.main",
            "agent",
            "--once",
            "--proc-root",
            str(self.proc),
        ]
        told = subprocess.run(
            self.inside(*command, *options), check=True, capture_output=True, text=True, timeout=60
        )
        evidence: dict[str, Any] = json.loads(told.stdout)
        jsonschema.validate(evidence, EVIDENCE)
        return evidence

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout:
            self._holder.stdout.close()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    made = Pod(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def two_agents(
    pod: Pod, start_child: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Any, Any]]:
    def start(backend: str) -> tuple[Any, Any]:
        children = []
        for port in (TELEMETRY_PORT, TELEMETRY_PORT + 1):
            monkeypatch.setenv("NIXL_TELEMETRY_ENABLE", "y")
            monkeypatch.setenv("NIXL_TELEMETRY_EXPORTER", "prometheus")
            monkeypatch.setenv("NIXL_TELEMETRY_PROMETHEUS_PORT", str(port))
            arguments = [NIXL, "--backend", backend, "--bytes", str(SIZE)]
            children.append(start_child(arguments, pod.inside()))
        return children[0], children[1]

    return start


def moved(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Bytes that went through the pod's interfaces."""
    sent: int = sum(each["txBytes"] for each in after["interfaces"]) - sum(
        each["txBytes"] for each in before["interfaces"]
    )
    return sent


def kinds(evidence: dict[str, Any]) -> set[tuple[str, str]]:
    """Kinds and stems of the libraries that every process has mapped."""
    found = [
        {(each["kind"], each["path"].rsplit("/", 1)[1].split("-")[0].split(".so")[0]) for each in libraries}
        for libraries in (process["libraries"] for process in evidence["processes"])
    ]
    return set.intersection(*found)


@pytest.mark.timeout(180)
def test_ucx_over_tcp_leaves_its_trace_everywhere(
    pod: Pod, two_agents: Callable[[str], tuple[Any, Any]]
) -> None:
    prefill, decode = two_agents("UCX")
    offer = prefill.ask({})
    for pid in (offer["pid"], decode.ask({})["pid"]):
        pod.show(pid)
    before = pod.evidence()
    answer = decode.ask({"metadata": offer["metadata"], "address": offer["address"]})
    assert answer["read"] == SIZE
    after = pod.evidence("--nixl-metrics", f"http://127.0.0.1:{TELEMETRY_PORT + 1}/metrics")
    assert {each["pid"] for each in after["processes"]} == {offer["pid"], answer["pid"]}
    assert {("nixl-plugin", "libplugin_UCX"), ("ucx", "libucp"), ("ucx-transport", "libuct_ib_efa")} <= kinds(
        after
    )
    assert not any(kind == "libfabric" for kind, _ in kinds(after))
    # Headers, acknowledgements and the agents' own words come on top of the data: a few per cent.
    assert SIZE <= moved(before, after) < 1.05 * SIZE
    assert after["nixl"]["available"]
    assert after["nixl"]["rxBytes"] == SIZE
    (log,) = [each for each in after["logs"] if each["path"].endswith(f"ucx-{answer['pid']}.log")]
    titles = [number for number, line in enumerate(log["lines"]) if "remote memory read by ucp_get" in line]
    assert titles, log["lines"]
    assert "tcp/lo" in log["lines"][titles[-1] + 1]


@pytest.mark.timeout(180)
def test_agents_that_move_nothing_leave_no_bytes(
    pod: Pod, two_agents: Callable[[str], tuple[Any, Any]]
) -> None:
    prefill, decode = two_agents("UCX")
    for child in (prefill, decode):
        pod.show(child.ask({})["pid"])
    before = pod.evidence()
    after = pod.evidence("--nixl-metrics", f"http://127.0.0.1:{TELEMETRY_PORT + 1}/metrics")
    assert moved(before, after) < SIZE // 100
    assert (after["nixl"]["rxBytes"], after["nixl"]["txBytes"]) == (0, 0)


def test_a_process_that_may_not_be_looked_into_is_unreadable_not_absent(pod: Pod) -> None:
    # It is outside of the agent's user namespace, so the agent has less rights than it, as one without
    # capabilities has beside an engine with IPC_LOCK.
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        pod.show(stranger.pid)
        evidence = pod.evidence()
    finally:
        stranger.kill()
        stranger.wait()
    assert evidence["processes"] == []
    assert {"what": f"maps of pid {stranger.pid} (sleep)", "why": "permission denied"} in evidence[
        "unreadable"
    ]
