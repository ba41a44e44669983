"""The operator on a real API server with a real controller manager, but no node."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chart.helm import IMAGES, Helm, settings
from integration.operator.control_plane import Api, Deployed, OperatorProcess, eventually
from testcluster.fixtures import ApiServer
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY

CRDS = [f"crd/{plural}.disagg.dev" for plural in ("disaggdeployments", "disaggscalers")]
PROGRAM = OperatorProcess.program
DYNAMO = "templates/crds/nvidia.com_dynamoworkermetadatas.yaml"


@pytest.fixture(scope="session")
def api(apiserver: ApiServer) -> Iterator[Api]:
    """A client of the private API server, which serves the CRD."""
    kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
    kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    helm = Helm(Path(apiserver.tools.path("helm")))
    kubectl.apply(helm.render(*settings(**IMAGES), "--show-only", DYNAMO))
    kubectl.await_served(*CRDS)
    client = Api(apiserver.kubeconfig)
    yield client
    client.close()


@contextmanager
def new_namespace(api: Api) -> Iterator[str]:
    """Make a namespace for a while."""
    name = f"operator-{secrets.token_hex(4)}"
    api.http.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    # The controller manager gives each namespace its default ServiceAccount; pods are refused before.
    eventually(lambda: api.find("serviceaccounts", name), "the namespace has a ServiceAccount")
    yield name
    api.http.delete(f"/api/v1/namespaces/{name}").raise_for_status()


@contextmanager
def operators(apiserver: ApiServer, namespace: str, logs: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Yield a maker of operator processes that watch one namespace, and end them all."""
    made: list[OperatorProcess] = []

    def make(
        name: str, program: tuple[str, ...] = PROGRAM, kubeconfig: Path = apiserver.kubeconfig, **more: str
    ) -> OperatorProcess:
        environment = {
            **more,
            "DISAGG_NAMESPACES": namespace,
            "DISAGG_LEASE_NAMESPACE": namespace,
            "POD_NAME": name,
            "POD_NAMESPACE": namespace,
        }
        made.append(OperatorProcess(kubeconfig, logs / f"{name}.log", environment, program))
        made[-1].start()
        return made[-1]

    try:
        yield make
    finally:
        for operator in made:
            if operator.process and operator.process.poll() is None:
                operator.process.kill()
                operator.process.wait(20)


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of the test's own."""
    with new_namespace(api) as name:
        yield name


@pytest.fixture
def new_operator(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> Iterator[Callable[..., OperatorProcess]]:
    """A maker of operator processes that watch the test's own namespace."""
    with operators(apiserver, namespace, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def shared_namespace(api: Api) -> Iterator[str]:
    """A namespace that the tests of a module share."""
    with new_namespace(api) as name:
        yield name


@pytest.fixture(scope="module")
def operator(
    apiserver: ApiServer, shared_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator process that leads in the shared namespace."""
    with operators(apiserver, shared_namespace, tmp_path_factory.mktemp("operator")) as make:
        process = make("operator-a")
        process.wait_until_leading()
        yield process


@pytest.fixture
def demo(api: Api, shared_namespace: str, operator: OperatorProcess) -> Deployed:  # noqa: ARG001 - it runs
    """A deployment of the test's own, not yet created, with an operator that waits for it."""
    return Deployed(api, shared_namespace, f"demo-{secrets.token_hex(2)}")
