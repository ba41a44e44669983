"""The commands of docs/quickstart.md, as they stand there, against the example that it is about."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from e2e.cluster_client import eventually
from e2e.deployments import Deployment
from e2e.installation import ROOT
from integration.cli.program import PROGRAM
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

PAGE = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
NOT_READY = 1
"""What `kubectl disagg status` ends with while something does not serve, or is refused."""


def shown(section: str) -> list[str]:
    """Return the commands of a section, in their order."""
    (text,) = re.findall(rf"^## \d\. {section}\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def run(cluster: Cluster, deployment: Deployment, command: str) -> str:
    """Run a command in a shell that is set up as the page says, in the namespace of these tests."""
    assert "-n disagg-demo" in command
    programs = [PROGRAM.parent, Path(cluster.programs.kubectl).parent]
    done = subprocess.run(
        ["bash", "-c", command.replace("disagg-demo", deployment.namespace)],
        env={
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig),
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    allowed = (0, NOT_READY) if "disagg status" in command else (0,)
    assert done.returncode in allowed, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_what_the_quickstart_looks_at_is_there(cluster: Cluster, quickstart: Deployment) -> None:
    told = {command.split("  ")[0]: run(cluster, quickstart, command) for command in shown("Look at it")}
    assert len(told) == 4
    listed, status, verified, answer = told.values()
    assert "smollm2" in listed
    assert "TransportVerified" in status
    assert "AsPromised" in verified
    assert answer.strip()


def test_what_the_quickstart_changes_is_done_and_what_cannot_work_is_refused(
    cluster: Cluster, quickstart: Deployment
) -> None:
    scale, _, refused, status, mended = shown("Change it")
    before = _pods(quickstart)
    try:
        run(cluster, quickstart, scale)
        quickstart.wait_complete()
        assert quickstart.read()["status"]["roles"]["decode"]["ready"] == "2/2"
        run(cluster, quickstart, refused)
        quickstart.wait("Accepted", "False")
        assert "aws-p5.48xlarge" in run(cluster, quickstart, status)
        run(cluster, quickstart, mended)
        quickstart.wait("Accepted")
    finally:
        quickstart.patch('{"spec": {"platform": "local", "decode": {"replicas": 1}}}')
        quickstart.wait_complete()

    def back() -> None:
        assert _pods(quickstart) == before

    eventually(back, 60)


def _pods(deployment: Deployment) -> set[str]:
    return {pod["metadata"]["uid"] for pod in deployment.children("pods")}
