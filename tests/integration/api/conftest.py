"""The CustomResourceDefinition on a real API server."""

from collections.abc import Iterator

import pytest

from testcluster.fixtures import ApiServer
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY

CRDS = [f"crd/{plural}.disagg.dev" for plural in ("disaggdeployments", "disaggscalers")]


@pytest.fixture(scope="session")
def kubectl(apiserver: ApiServer) -> Kubectl:
    """The kubectl program, against the private API server."""
    return Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)


NAMESPACES = ("api-tests", "inference")
"""Where the tests of this folder keep their objects, and the one that an example names."""


@pytest.fixture(scope="session")
def namespaces(kubectl: Kubectl) -> Iterator[None]:
    """Namespaces of our own: other tests share the API server."""
    kubectl.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES]
    )
    yield
    kubectl.text("delete", "namespace", "api-tests", "--wait=false")


@pytest.fixture(scope="session")
def crd(kubectl: Kubectl) -> None:
    """The committed CRD, served."""
    kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    kubectl.await_served(*CRDS)
