"""``kubectl disagg`` as users start it, and the part of the operator that answers it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.operator.control_plane import Api, eventually

ANNOTATION = "disagg.dev/verify"
PROGRAM = Path(sys.executable).with_name("kubectl-disagg")
"""Installed beside the Python that runs the tests."""
HEEDING_CTRL_C = ("env", "--default-signal=INT")
"""Put before a program: a shell has its background ignore Ctrl-C, with all children, such as these tests."""


@dataclass(frozen=True)
class Finished:
    """A program that has ended."""

    code: int
    output: str
    complaint: str


@dataclass(frozen=True)
class Program:
    """The command line, for one cluster and namespace.

    Attributes:
        kubeconfig: who calls.
        namespace: where, or nothing for the context's.
    """

    kubeconfig: Path
    namespace: str

    def start(self, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start it in the background; its output goes to a pipe or a file descriptor."""
        where = ("--namespace", self.namespace) if self.namespace else ()
        command = [*HEEDING_CTRL_C, str(PROGRAM), *arguments, "--kubeconfig", str(self.kubeconfig), *where]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Wait for its end."""
        output, complaint = process.communicate(timeout=60)
        assert "Traceback" not in complaint, complaint
        return Finished(process.returncode, output, complaint)

    def __call__(self, *arguments: str) -> Finished:
        """Run it to its end."""
        return self.finish(self.start(*arguments))


@dataclass(frozen=True)
class OperatorsPart:
    """STAND-IN for the operator: writes into the status what it would."""

    api: Api
    namespace: str

    def asked(self) -> str:
        """Return the text of the annotation, once there is one."""

        def check() -> str:
            metadata = self.api.get("disaggdeployments", self.namespace, "demo")["metadata"]
            return str(metadata.get("annotations", {}).get(ANNOTATION, ""))

        return eventually(check, "the annotation is set", 60)

    def ready(self, prefill: int = 1) -> None:
        """Report all workers but some of prefill as ready."""
        one = {"readyReplicas": 1, "desiredReplicas": 1}
        roles = {"prefill": {**one, "readyReplicas": prefill}, "decode": one, "frontend": one}
        self._write(observedGeneration=1, roles=roles, revision="r", updateRevision="r")

    def step(self, text: str) -> None:
        """Say what the measurement does."""
        self._write(transport={"configured": "NIXL/UCX", "step": text})

    def result(self, **found: Any) -> None:
        """Report a result."""
        self._write(transport={"configured": "NIXL/UCX", "step": None, **found})

    def _write(self, **status: Any) -> None:
        self.api.patch("disaggdeployments", self.namespace, "demo", {"status": status}, "/status")
