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

import pytest

from testcluster.toolchain import uv
from unit.worker_agent.contract import understood

NIXL = str(Path(__file__).with_name("nixl_process.py"))
SIZE = 8 << 20
TELEMETRY_PORT = 9400
# libfabric wants an address that is not the loopback's; what is sent to it goes through lo all the same.
NETWORK = (
    "ip link set lo up && ip link add eth0 type veth peer name peer0 && ip addr add 10.7.0.1/24 dev eth0"
    " && ip link set eth0 up && ip link set peer0 up"
)
# The newest NIXL whose LIBFABRIC plugin loads with the libfabric 2.5 that Open MPI's wheel brings.
LIBFABRIC_PACKAGES = ("nixl==1.4.1", "nixl-cu13==1.4.1", "nvidia-cuda-runtime==13.0.96")
# The plugin is linked with CUDA's driver. This one stands for a machine without a GPU: all calls fail.
NO_CUDA_DRIVER = """
extern "C" {
int cuCtxSetCurrent(void*) { return 100; }
int cuDeviceGetPCIBusId(char*, int, int) { return 100; }
int cuPointerGetAttributes(unsigned, void*, void**, unsigned long long) { return 100; }
}
"""


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
            ["unshare", "-rn", "sh", "-c", f"{NETWORK} && echo ready && exec sleep infinity"],
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
        assert understood(evidence) == evidence
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


@pytest.fixture
def libfabric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give children a NIXL whose LIBFABRIC plugin loads without EFA and without a GPU."""
    packages, driver = tmp_path / "packages", tmp_path / "driver"
    install = [
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        str(packages),
    ]
    subprocess.run([uv(), *install, *LIBFABRIC_PACKAGES], check=True)
    driver.mkdir()
    compile_ = ["c++", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(driver / "libcuda.so.1")]
    subprocess.run([*compile_, "-x", "c++", "-"], input=NO_CUDA_DRIVER, text=True, check=True)
    (runtime,) = packages.rglob("libcudart.so.13")
    own = [driver, runtime.parent, Path(sys.prefix) / "lib" / "openmpi"]
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(map(str, own)))
    monkeypatch.setenv("PYTHONPATH", str(packages))


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


def read_once(pod: Pod, agents: tuple[Any, Any]) -> tuple[list[int], dict[str, Any], dict[str, Any]]:
    """Have decode read from prefill; return both pids (prefill first) and the evidence around it."""
    prefill, decode = agents
    offer = prefill.ask({})
    for pid in (offer["pid"], decode.ask({})["pid"]):
        pod.show(pid)
    before = pod.evidence()
    answer = decode.ask({"metadata": offer["metadata"], "address": offer["address"]})
    assert answer["read"] == SIZE
    after = pod.evidence("--nixl-metrics", f"http://127.0.0.1:{TELEMETRY_PORT + 1}/metrics")
    return [offer["pid"], answer["pid"]], before, after


@pytest.mark.timeout(180)
def test_ucx_over_tcp_leaves_its_trace_everywhere(
    pod: Pod, two_agents: Callable[[str], tuple[Any, Any]]
) -> None:
    pids, before, after = read_once(pod, two_agents("UCX"))
    assert {each["pid"] for each in after["processes"]} == set(pids)
    assert {("nixl-plugin", "libplugin_UCX"), ("ucx", "libucp"), ("ucx-transport", "libuct_ib_efa")} <= kinds(
        after
    )
    assert not any(kind == "libfabric" for kind, _ in kinds(after))
    # Headers, acknowledgements and the agents' own words come on top: little, more on a busy machine. What
    # the agent must not do is to count bytes twice.
    assert SIZE <= moved(before, after) < 1.5 * SIZE
    assert after["nixl"]["available"]
    assert after["nixl"]["rxBytes"] == SIZE
    (log,) = [each for each in after["logs"] if each["path"].endswith(f"ucx-{pids[1]}.log")]
    titles = [number for number, line in enumerate(log["lines"]) if "remote memory read by ucp_get" in line]
    assert titles, log["lines"]
    assert "tcp/" in log["lines"][titles[-1] + 1]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("libfabric")
def test_libfabric_over_its_tcp_provider_is_bytes_of_the_network_and_of_no_device(
    pod: Pod, two_agents: Callable[[str], tuple[Any, Any]]
) -> None:
    _, before, after = read_once(pod, two_agents("LIBFABRIC"))
    assert {("nixl-plugin", "libplugin_LIBFABRIC"), ("libfabric", "libfabric")} <= kinds(after)
    assert not any(kind in ("ucx", "ucx-transport") for kind, _ in kinds(after))
    assert SIZE <= moved(before, after) < 1.5 * SIZE
    assert after["nixl"]["rxBytes"] == SIZE
    assert [device for device in after["devices"] if device["kind"] == "efa"] == []


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
