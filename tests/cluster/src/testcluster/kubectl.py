"""kubectl with one kubeconfig."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testcluster.commands import output


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


def _listed(objects: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
