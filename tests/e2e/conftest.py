"""One operator, installed by its chart, and one deployment that serves: shared by the tests of the whole run.

The modules are numbered because they are one story: serve, change, break, look back, upgrade, remove.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from chart.helm import RELEASE, Helm, settings
from e2e.audit import AuditTrail
from e2e.chat import Chat
from e2e.cluster_client import Kubectl
from e2e.deployments import Deployment
from e2e.installation import (
    NAMESPACE,
    ROOT,
    SYSTEM,
    Installed,
    make_namespace,
    remove_everything,
)
from e2e.trouble import trouble
from testcluster.demo import OUR_CRDS, chart_values
from testcluster.session import Cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell beside a failure how the deployments' pods are, before any fixture takes them away."""
    report = yield
    kubectl = getattr(item, "funcargs", {}).get("kubectl")
    if report.failed and isinstance(kubectl, Kubectl):
        report.sections.append(("pods that are not ready", trouble(kubectl, NAMESPACE)))
    return report


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """Kubectl with the test cluster's kubeconfig."""
    return Kubectl(cluster.programs.kubectl, cluster.kubeconfig)


@pytest.fixture(scope="session")
def helm(cluster: Cluster) -> Helm:
    """Helm with the test cluster's kubeconfig."""
    return Helm(Path(cluster.programs.helm), cluster.kubeconfig)


@pytest.fixture(scope="session")
def installed(cluster: Cluster, helm: Helm, kubectl: Kubectl) -> Iterator[Installed]:
    """The chart, installed in a namespace that admits restricted pods only."""
    # Neither NVIDIA's driver nor gang scheduling is on this cluster; tests/integration/platforms audits the
    # permissions for them.
    without = settings(computeDomain__enabled=False, gangScheduling__enabled=False)
    # What pods may do to the node is Pod Security's to say here; the chart's default is tried without a node.
    open_nodes = settings(tenants__hostAccess="PodSecurity")
    values = (*chart_values(cluster.images), *without, *open_nodes)
    if cluster.provider == "existing" and kubectl("get", "crd", f"--selector={OUR_CRDS}", "--output=name"):
        pytest.fail(
            "these tests remove all DisaggDeployments, and this cluster has them installed: use another"
        )
    remove_everything(helm, kubectl)
    make_namespace(kubectl, SYSTEM)
    log = cluster.audit_log
    audit = None if log is None else AuditTrail(log, log.stat().st_size)
    made = Installed(helm, kubectl, values, audit, cluster.images)
    made.release("install", RELEASE, SYSTEM)
    yield made
    remove_everything(helm, kubectl)


@pytest.fixture(scope="session")
def namespace(kubectl: Kubectl) -> str:
    """Namespace of the shared deployments; it admits restricted pods only."""
    return make_namespace(kubectl, NAMESPACE)


@pytest.fixture(scope="session")
def http(kubectl: Kubectl) -> Iterator[httpx.Client]:
    """HTTP to services and pods, through the API server."""
    with kubectl.proxy() as client:
        yield client


@pytest.fixture(scope="session")
def quickstart(installed: Installed, namespace: str) -> Deployment:
    """The example for newcomers, applied as it is, Available, and with its transport verified.

    The operator's own request is over by then, so that tests count their own bytes.
    """
    (example,) = (ROOT / "examples" / "01-quickstart").glob("*.yaml")
    installed.kubectl("apply", f"--namespace={namespace}", f"--filename={example}")
    name = yaml.safe_load(example.read_text())["metadata"]["name"]
    deployment = Deployment(installed.kubectl, namespace, name)
    deployment.wait_complete()
    deployment.wait("TransportVerified")
    return deployment


@pytest.fixture(scope="session")
def chat(quickstart: Deployment, http: httpx.Client) -> Chat:
    """A client of the example's frontend."""
    return Chat(http, quickstart.namespace, quickstart.name)
