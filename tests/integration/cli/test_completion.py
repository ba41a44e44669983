"""Completion by the real kubectl, which finds both programs on the PATH, on a real API server."""

import os
import subprocess

import pytest

from integration.cli.program import PROGRAM, Program
from testcluster.fixtures import ApiServer

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]


def test_kubectl_offers_the_deployments_of_a_namespace(
    apiserver: ApiServer, disagg: Program, namespace: str
) -> None:
    def complete(*words: str) -> list[str]:
        kubectl = apiserver.tools.path("kubectl")
        path = os.pathsep.join((str(PROGRAM.parent), os.environ["PATH"]))
        ended = subprocess.run(
            [kubectl, "__complete", "disagg", *words],
            env={**os.environ, "PATH": path, "KUBECONFIG": str(disagg.kubeconfig)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return [line.partition("\t")[0] for line in ended.stdout.splitlines()]

    assert complete("status", "--namespace", namespace, "") == ["demo", ":4"]
    assert complete("logs", "-n", namespace, "d") == ["demo", ":4"]
    assert complete("status", "--namespace", namespace[:-2]) == [namespace, ":4"]
    assert complete("rollout", "res") == ["resume", ":4"]
