"""kubectl with one kubeconfig."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testcluster.commands import output
from testcluster.errors import ClusterError


class Kubectl:
    """Runs kubectl against one cluster.

    Args:
        program: The kubectl to run.
        kubeconfig: Says which cluster and who we are.
    """

    def __init__(self, program: str, kubeconfig: Path) -> None:
        self.program = program
        self.kubeconfig = kubeconfig

    def argv(self, *arguments: str) -> list[str]:
        """The command line for these arguments."""
        return [self.program, f"--kubeconfig={self.kubeconfig}", *arguments]

    def text(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run it and return what it printed.

        Raises:
            ClusterError: If it fails.
        """
        return output(self.argv(*arguments), stdin=stdin, timeout=timeout)

    def json(self, *arguments: str) -> Any:
        """Run it with `-o json` and parse what it printed."""
        return json.loads(self.text(*arguments, "-o", "json"))

    def apply(self, objects: Sequence[dict[str, Any]]) -> None:
        """Apply objects server-side."""
        self.text("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=_listed(objects))

    def create(self, objects: Sequence[dict[str, Any]]) -> None:
        """Create objects that are not there yet."""
        self.text("create", "-f", "-", stdin=_listed(objects))

    def await_served(self, *crds: str, seconds: float = 60) -> None:
        """Wait until CustomResourceDefinitions are served; names as `crd/…`, or `-f` and a file.

        kubectl fails at once for one that has no conditions yet, so it is asked again.

        Raises:
            ClusterError: They are not served in time.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                self.text(
                    "wait",
                    "--for=condition=Established",
                    *crds,
                    f"--timeout={seconds:g}s",
                    timeout=seconds + 30,
                )
            except ClusterError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                return


def _listed(objects: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
