"""KV reads of a long prompt beside raw READs of as many bytes in one piece.

Both are made by the same two processes in turns, so that other load meets both; the median counts. The
processes run in two pods of the test cluster, or here.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.engine.table import Row
from bench.kv import kv_side
from bench.side import Side
from testcluster.kubectl import Kubectl
from testcluster.session import running_cluster

SCRIPT = Path(kv_side.__file__)
NAMESPACE = "disagg-bench"
SIDES = ("source", "reader")
PYTHON = "python3"
TARGET = 0.9
READS = 8  # in a round
# Between pods there is no shared memory; without this, processes of one host would not use TCP.
TCP = {"UCX_TLS": "tcp"}

Launch = Callable[[str, str], Sequence[str]]
"""Gives the command line of a side whose blocks lie in an order."""


def between_processes(rounds: int, progress: Callable[[str], None]) -> list[Row]:
    """Measure between two processes of this machine, over TCP."""
    return _rows(lambda side, order: [sys.executable, str(SCRIPT), side, order], rounds, progress)


def between_pods(rounds: int, progress: Callable[[str], None]) -> list[Row]:
    """Measure between two pods of the test cluster, which is brought up if it is not.

    Raises:
        ClusterError: The cluster cannot be brought up, or its pods do not start.
    """
    cluster = running_cluster()
    kubectl = Kubectl(cluster.programs.kubectl, cluster.kubeconfig)
    script = SCRIPT.read_text(encoding="utf-8")

    def launch(side: str, order: str) -> list[str]:
        return kubectl.argv("exec", "-i", side, "-n", NAMESPACE, "--", PYTHON, "-c", script, side, order)

    progress("two pods of the worker's image are started")
    with _pods(kubectl, cluster.images["worker"]):
        return _rows(launch, rounds, progress)


@contextmanager
def _pods(kubectl: Kubectl, image: str) -> Iterator[None]:
    kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    try:
        kubectl.apply([_pod(side, image) for side in SIDES])
        kubectl.text(
            "wait", "pod", *SIDES, "-n", NAMESPACE, "--for=condition=Ready", "--timeout=120s", timeout=130
        )
        yield
    finally:
        kubectl.text("delete", "namespace", NAMESPACE, "--wait", timeout=180)


def _pod(name: str, image: str) -> dict[str, Any]:
    idle = [PYTHON, "-c", "import signal; signal.sigwait({signal.SIGTERM})"]
    container = {"name": name, "image": image, "command": idle}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"containers": [container], "restartPolicy": "Never"},
    }


def _rows(launch: Launch, rounds: int, progress: Callable[[str], None]) -> list[Row]:
    rows = []
    for order in ("row", "scattered"):
        name = f"KV read, {kv_side.TOKENS} tokens, blocks {'in a row' if order == 'row' else 'scattered'}"
        progress(name)
        with ExitStack() as stack:
            source, reader = (Side(launch(side, order), TCP) for side in SIDES)
            stack.callback(source.end)
            stack.callback(reader.end)
            rows.append(_row(name, source, reader, rounds))
    return rows


def _row(name: str, source: Side, reader: Side, rounds: int) -> Row:
    def read() -> dict[str, Any]:
        return reader.ask(json.dumps(source.ask("offer")))

    read()  # connects
    read()  # stands
    reads = [read() for _ in range(READS * rounds)]
    ours, raw = (median(each["bytes"] / each[kind] / 1e6 for each in reads) for kind in ("ours", "raw"))
    return Row(name, ours, "raw NIXL READ in one piece", raw, "MB/s", TARGET)
