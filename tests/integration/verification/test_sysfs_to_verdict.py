"""From counters in a sysfs tree to the verdict: the agent's own readers and the operator's verifier.

SIMULATED are the trees, which hold what the kernel shows of EFA and of a pod's network, and the frontend, of
which the canary makes their counters move. No hardware is behind them.
"""

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.reconcile.verification.verifier import VerificationResult
from disagg_worker.agent.collecting import Collector, Sources
from disagg_worker.agent.evidence import document
from integration.verification.simulated_workers import BYTES, SimulatedCluster
from integration.verification.watching import SRD_LOG, Logs, watching
from unit.verify.simulated import Pod
from unit.worker_agent.simulated import EFA_COUNTERS, Node, write

RAILS = ("rdmap40s0", "rdmap62s0", "rdmap84s0", "rdmap106s0")
PLUGIN = "/opt/nixl/plugins/libplugin_UCX.so"
LLAMA = {
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_size": 8192,
    "torch_dtype": "bfloat16",
}
_networks = itertools.count(100)


class Worker:
    """The trees of one worker pod with four EFA devices, and the agent that reads them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.node = Node(folder)
        self.ports = {
            name: self.node.device(name, uverbs=number, hw_counters=EFA_COUNTERS)
            for number, name in enumerate(RAILS)
        }
        self.network = 0
        self.uses_network(0)
        root = self.node.process(7, libraries=[PLUGIN]) / "root"
        write(root / "models" / "llama" / "config.json", json.dumps(LLAMA))
        for number in range(len(RAILS)):
            write(root / "dev" / "infiniband" / f"uverbs{number}", "")
        sources = Sources(sys=self.node.sys, proc=self.node.proc, model="/models/llama", nvml="none")
        self.collector = Collector(sources)

    def uses_network(self, count: int) -> None:
        """Count bytes both ways on eth0."""
        self.network += count
        self.node.interfaces(lo=(10, 10), eth0=(self.network, self.network))

    def counts(self, counter: str, count: int, rails: int) -> None:
        """Add bytes to a counter, shared out over so many devices."""
        for name in RAILS[:rails]:
            file = self.ports[name] / "hw_counters" / counter
            write(file, int(file.read_text()) + count // rails)


Move = Callable[[Worker, Worker], None]


def over_efa(rails: int) -> Move:
    """Let decode read over so many devices, as the kernel of EFA counts that."""

    def move(prefill: Worker, decode: Worker) -> None:
        prefill.counts("tx_bytes", BYTES, rails)
        decode.counts("rx_bytes", BYTES, rails)
        decode.counts("rdma_read_bytes", BYTES, rails)

    return move


def over_tcp(prefill: Worker, decode: Worker) -> None:
    prefill.uses_network(BYTES)
    decode.uses_network(BYTES)


def backwards(prefill: Worker, decode: Worker) -> None:
    """The kernel module is loaded anew while bytes move."""
    over_efa(4)(prefill, decode)
    for worker in (prefill, decode):
        for port in worker.ports.values():
            for counter in EFA_COUNTERS:
                write(port / "hw_counters" / counter, 0)


def vanishing(prefill: Worker, decode: Worker) -> None:
    """All devices of decode vanish while bytes move."""
    over_efa(4)(prefill, decode)
    for port in decode.ports.values():
        shutil.rmtree(port.parents[1])


async def verdict(tmp_path: Path, move: Move, log: str = SRD_LOG) -> VerificationResult:
    """Have the verifier ask the agents before and after a canary that makes counters move."""
    workers = {name: Worker(tmp_path / name) for name in ("p-0", "d-0")}

    async def canary(_: SimulatedCluster) -> None:
        await asyncio.to_thread(move, workers["p-0"], workers["d-0"])

    def evidence(name: str, _: dict[str, Any]) -> Any:
        return document(workers[name].collector.collect())

    cluster = SimulatedCluster(
        f"127.76.{next(_networks)}", Pod(), Pod(), move=canary, on_evidence=evidence, seconds=0.1
    )
    async with cluster, watching(logs=Logs(log)) as watcher:
        return await watcher.result(cluster.asks(), seconds=30)


async def test_four_of_four_devices_verify_srd(tmp_path: Path) -> None:
    found = await verdict(tmp_path, over_efa(4))
    assert (found.verified, found.reason, found.label) == ("True", "AsPromised", "NIXL/UCX srd")
    assert (found.devices_used, found.devices_given) == (4, 4)
    assert found.bytes == pytest.approx(found.expected_bytes, rel=0.02)


async def test_three_of_four_devices_are_verified_and_told(tmp_path: Path) -> None:
    found = await verdict(tmp_path, over_efa(3))
    assert (found.verified, found.reason) == ("True", "FewerDevicesThanGpus")
    assert (found.devices_used, found.devices_given) == (3, 4)


async def test_tcp_is_told_though_the_log_names_srd(tmp_path: Path) -> None:
    found = await verdict(tmp_path, over_tcp)
    assert (found.verified, found.reason, found.label) == ("False", "WorseTransport", "NIXL/UCX tcp")
    assert "The log names UCX over srd" in found.message


@pytest.mark.parametrize("move", [backwards, vanishing])
async def test_counters_that_go_backwards_or_vanish_prove_nothing(tmp_path: Path, move: Move) -> None:
    found = await verdict(tmp_path, move)
    assert found.verified == "Unknown"
