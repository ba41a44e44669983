"""Benchmark of the operator's start: `make bench-operator-start`, on the cluster that `make demo` leaves.

The operator's pod is deleted and made anew several times; it tells the time from the start of
its process to its first being ready. Its image is weighed too. The exit status is 1 when a target was missed.
"""

import re
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.engine.table import Output, Row, report
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl
from testcluster.session import Session, open_session

NAMESPACE = "disagg-system"
PODS = "app.kubernetes.io/component=operator"
TARGET_SECONDS = 2.0
TARGET_MEGABYTES = 150.0
_START = re.compile(r"^disagg_start_seconds (\S+)$", re.MULTILINE)


def main(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    rounds: Annotated[int, typer.Option(min=1, help="Times the pod is made anew.")] = 5,
) -> None:
    """Measure how long the operator takes to be ready in its pod, and how large its image is."""
    notes = Console(stderr=True)
    try:
        session = open_session({}, Progress())
        starts = []
        for number in range(1, rounds + 1):
            starts.append(_restart(session.kubectl))
            notes.print(f"[dim]start {number} of {rounds}: {starts[-1]:.2f} s[/dim]")
        rows = [
            Row("start to ready", median(starts), "target", TARGET_SECONDS, "s", 1.0, upper=True),
            Row("image", _image_megabytes(session), "target", TARGET_MEGABYTES, "MB", 1.0, upper=True),
        ]
    except ClusterError as error:
        notes.print(str(error), markup=False)
        raise typer.Exit(1) from None
    report(rows, output, "Operator")


def _restart(kubectl: Kubectl) -> float:
    """Delete the operator's pod and return the seconds that its successor took to be ready."""
    kubectl.text("delete", "pod", "--selector", PODS, "--namespace", NAMESPACE, "--wait=true", timeout=120)
    kubectl.text("rollout", "status", "deployment", "--namespace", NAMESPACE, "--timeout=120s", timeout=130)
    # A rollout counts as done for a moment after the pod is gone, until the new one is noticed.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pods = kubectl.json("get", "pods", "--selector", PODS, "--namespace", NAMESPACE)["items"]
        ready = [pod["metadata"]["name"] for pod in pods if _is_ready(pod)]
        if ready:
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{ready[0]}:8080/proxy/metrics"
            found = _START.search(kubectl.text("get", "--raw", path))
            if found and float(found[1]) > 0:
                return float(found[1])
        time.sleep(0.5)
    raise ClusterError(
        f"no pod of the operator became ready in namespace {NAMESPACE}; install it with: make demo"
    )


def _is_ready(pod: dict[str, object]) -> bool:
    status, metadata = pod["status"], pod["metadata"]
    if not isinstance(status, dict) or not isinstance(metadata, dict) or "deletionTimestamp" in metadata:
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def _image_megabytes(session: Session) -> float:
    """Return the size of the operator's image, uncompressed, in 10^6 bytes."""
    (archive,) = [image.archive for image in session.images() if image.name == "operator"]
    if archive is None:
        raise ClusterError(
            "the image of an existing cluster is not built here; run with CLUSTER=local or kind"
        )
    return archive.stat().st_size / 1e6


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
