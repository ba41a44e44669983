"""``kubectl disagg`` as a program of its own, on a real API server with the CRD, and no operator."""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from integration.cli.program import Program
from integration.operator.control_plane import Api, Object, deployment, eventually
from testcluster.fixtures import ApiServer
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY

CRD = "customresourcedefinitions.apiextensions.k8s.io/disaggdeployments.disagg.dev"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


@pytest.fixture(scope="session")
def api(apiserver: ApiServer) -> Iterator[Api]:
    """A client of the private API server, which serves the CRD."""
    kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
    kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    kubectl.await_served(CRD)
    client = Api(apiserver.kubeconfig)
    yield client
    client.close()


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of the test's own, with a deployment named demo."""
    name = f"cli-{secrets.token_hex(4)}"
    api.http.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    api.create("disaggdeployments", name, deployment())
    yield name
    api.http.delete(f"/api/v1/namespaces/{name}").raise_for_status()


@pytest.fixture
def disagg(apiserver: ApiServer, namespace: str) -> Program:
    """The program, with the administrator's kubeconfig."""
    return Program(apiserver.kubeconfig, namespace)


@pytest.fixture
def user(api: Api, apiserver: ApiServer, namespace: str, tmp_path: Path) -> Callable[..., Program]:
    """A maker of programs that run as somebody who may do a few things."""

    def make(*rules: Object) -> Program:
        eventually(lambda: api.find("serviceaccounts", namespace), "the namespace has a ServiceAccount")
        role = {"metadata": {"name": "few"}, "rules": list(rules)}
        api.http.post(f"{RBAC}/{namespace}/roles", json=role).raise_for_status()
        binding = {
            "metadata": {"name": "few"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        }
        api.http.post(f"{RBAC}/{namespace}/rolebindings", json=binding).raise_for_status()
        path = f"{api.path('serviceaccounts', namespace, 'default')}/token"
        token = api.http.post(path, json={"spec": {}}).raise_for_status().json()["status"]["token"]
        config = yaml.safe_load(apiserver.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = namespace
        kubeconfig = tmp_path / "few.yaml"
        kubeconfig.write_text(json.dumps(config))
        return Program(kubeconfig, "")

    return make
