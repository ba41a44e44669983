"""Helm as the chart's tests use it: render, lint, and the errors that people would read."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testcluster.console import Progress
from testcluster.paths import default_paths
from testcluster.toolchain import ensure_helm3, ensure_tools

CHART = Path(__file__).resolve().parents[2] / "charts" / "disagg-operator"
RELEASE = "disagg-operator"
NAMESPACE = "disagg-system"
MONITORING = "monitoring.coreos.com/v1"

Object = dict[str, Any]


class HelmError(Exception):
    """Helm failed; the text is what it wrote for people."""


@dataclass(frozen=True)
class Helm:
    """One helm binary.

    Attributes:
        binary: the program.
        kubeconfig: cluster to talk to, or None for what needs none.
    """

    binary: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str | Path, timeout: float = 120) -> str:
        """Run helm and return its standard output.

        Args:
            arguments: command line, without the program.
            timeout: longest time, in seconds.

        Raises:
            HelmError: if helm refuses or fails.
        """
        cluster = [] if self.kubeconfig is None else ["--kubeconfig", str(self.kubeconfig)]
        done = subprocess.run(
            [str(self.binary), *map(str, arguments), *cluster],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(done.stdout + done.stderr)
        return done.stdout

    def render(self, *arguments: str | Path) -> list[Object]:
        """Return the objects that the chart renders, hooks included."""
        text = self("template", RELEASE, CHART, "--namespace", NAMESPACE, *arguments)
        return [found for found in yaml.safe_load_all(text) if found]


def offline() -> Helm:
    """Return the Helm that tests build, without a cluster."""
    return Helm(Path(ensure_tools(default_paths(), Progress()).path("helm")))


def offline3() -> Helm:
    """Return the Helm 3 that tests build, without a cluster."""
    return Helm(Path(ensure_helm3(default_paths(), Progress()).path("helm")))


IMAGES = {
    "image.repository": "registry.example.com/disagg-operator",
    "worker.image": "registry.example.com/disagg-worker:1",
}
"""The values without which the chart refuses to render."""


def settings(**values: object) -> list[str]:
    """Return `--set-json` arguments; a double underscore in a name stands for a dot."""
    return [f"--set-json={name.replace('__', '.')}={json.dumps(value)}" for name, value in values.items()]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return the objects of one kind."""
    return [found for found in objects if found["kind"] == kind]


def the(objects: list[Object], kind: str, name: str = RELEASE) -> Object:
    """Return the one object of a kind and name."""
    (found,) = [other for other in of_kind(objects, kind) if other["metadata"]["name"] == name]
    return found
