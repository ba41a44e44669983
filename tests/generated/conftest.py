"""A real API server that serves the CRDs, and how much of a run is asked for.

``SEED``, ``FIRST`` and ``COUNT`` choose the resources; without them a sample of a fixed seed is judged.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from generated.judges import Server
from generated.resources import NAMESPACE
from integration.operator.control_plane import Api
from testcluster.fixtures import ApiServer
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY

USUAL = {"SEED": 1, "COUNT": 250, "FIRST": 0}
CRDS = [f"crd/{plural}.disagg.dev" for plural in ("disaggdeployments", "disaggscalers")]


@dataclass(frozen=True)
class Run:
    """What is asked for.

    Attributes:
        seed: seed of the resources.
        count: how many resources.
        first: number of the first of them.
    """

    seed: int
    count: int
    first: int = 0

    @property
    def numbers(self) -> range:
        """Numbers of the resources."""
        return range(self.first, self.first + self.count)

    def sample(self, share: int, least: int) -> range:
        """Return the numbers of a part of the resources: one in ``share``, and at least some."""
        return range(self.first, self.first + max(self.count // share, least))


@pytest.fixture(scope="session")
def run() -> Run:
    """The run that is asked for."""
    return Run(*(int(os.environ.get(name) or usual) for name, usual in USUAL.items()))


@pytest.fixture(scope="session")
def api(apiserver: ApiServer) -> Iterator[Api]:
    """A client of an API server that serves the CRDs."""
    kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
    kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    kubectl.await_served(*CRDS)
    client = Api(apiserver.kubeconfig)
    made = client.http.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}})
    assert made.is_success, made.text
    yield client
    client.close()


@pytest.fixture(scope="session")
def server(api: Api) -> Server:
    """The API server as a judge."""
    return Server(api.http, api.path("disaggdeployments", NAMESPACE))
