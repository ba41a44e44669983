"""From a stored release to this version on a real API server, with deployments that run; and a step back."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from chart.helm import IMAGES, Helm, settings
from integration.operator.control_plane import (
    ACCEPTED,
    Api,
    Deployed,
    Object,
    OperatorProcess,
    eventually,
    make_pods_ready,
)
from integration.operator.restoring import ready_pods, restore
from soak.leftovers import everything
from testcluster.fixtures import private_apiserver
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY
from upgrade.release import NAMESPACE, Release, releases

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

DYNAMO = "templates/crds/nvidia.com_dynamoworkermetadatas.yaml"
NAMES = [f"crd/{plural}.disagg.dev" for plural in ("disaggdeployments", "disaggscalers")]
EXAMPLES, LATER = "examples", "later"
FIELD = "fieldOfALaterVersion"
SECONDS = 300.0


@dataclass(frozen=True)
class Server:
    """An API server with a controller manager and no node.

    Attributes:
        api: its administrator.
        kubectl: the same, by another client.
        kubeconfig: the administrator's.
        log: where the operator writes.
    """

    api: Api
    kubectl: Kubectl
    kubeconfig: Path
    log: Path

    def operator(self, namespace: str) -> OperatorProcess:
        """Return an operator of this version for a namespace, not yet started."""
        environment = {
            "DISAGG_NAMESPACES": namespace,
            "DISAGG_LEASE_NAMESPACE": namespace,
            "POD_NAME": "operator",
            "POD_NAMESPACE": namespace,
        }
        return OperatorProcess(self.kubeconfig, self.log, environment)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server of this module's own: definitions are the whole cluster's."""
    with private_apiserver(tmp_path_factory.mktemp("upgrade-apiserver")) as running:
        kubectl = Kubectl(running.tools.path("kubectl"), running.kubeconfig)
        helm = Helm(Path(running.tools.path("helm")))
        kubectl.apply(helm.render(*settings(**IMAGES), "--show-only", DYNAMO))
        api = Api(running.kubeconfig)
        for name in (NAMESPACE, EXAMPLES, LATER):
            api.http.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
            eventually(partial(_has_defaults, api, name), "the namespace has what every namespace has")
        yield Server(api, kubectl, running.kubeconfig, tmp_path_factory.mktemp("log") / "operator.log")
        api.close()


@pytest.fixture
def running(server: Server) -> Iterator[OperatorProcess]:
    """The operator of this version where the deployments are, not yet started."""
    operator = server.operator(NAMESPACE)
    yield operator
    if operator.process and operator.process.poll() is None:
        operator.process.kill()
        operator.process.wait(20)


def _has_defaults(api: Api, namespace: str) -> bool:
    return all(api.find(resource, namespace) for resource in ("serviceaccounts", "configmaps"))


def templates(api: Api) -> dict[str, Object]:
    """Return the pod templates of all that makes pods."""
    return {
        f"{resource}/{obj['metadata']['name']}": obj["spec"]["template"]
        for resource in ("statefulsets", "deployments")
        for obj in api.find(resource, NAMESPACE)
    }


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.folder.name)
def test_what_a_release_left_runs_on_under_this_version(
    server: Server, running: OperatorProcess, release: Release
) -> None:
    api = server.api
    server.kubectl.apply(release.definitions)
    server.kubectl.await_served(*NAMES)
    before = everything(api)
    examples = {f"example-{number}": each.resource for number, each in enumerate(release.examples.values())}
    for name, example in examples.items():
        api.create("disaggdeployments", EXAMPLES, {**example, "metadata": {"name": name}})
    restore(api, release.deployments)
    pods, planned = ready_pods(api), templates(api)

    server.kubectl.text("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    server.kubectl.await_served(*NAMES)
    for name in examples:
        # A write has the whole object judged by the definition that is there now.
        api.patch("disaggdeployments", EXAMPLES, name, {"metadata": {"labels": {"written": "again"}}})
        answer = api.http.get(api.path("disaggdeployments", EXAMPLES, name))
        copy = {**answer.json(), "metadata": {"name": f"{name}-2"}}
        strictly = {"fieldValidation": "Strict", "dryRun": "All"}
        made = api.http.post(api.path("disaggdeployments", EXAMPLES), json=copy, params=strictly)
        assert made.status_code in ACCEPTED, made.text
    running.start()
    running.wait_until_leading()
    count = len(release.deployments)
    eventually(
        lambda: f"disagg_deployments_checked {count}.0" in running.says("/metrics"),
        "every deployment was looked at",
        SECONDS,
    )
    eventually(lambda: "disagg_queue_depth 0.0" in running.says("/metrics"), "nothing is left to do", SECONDS)
    deployed = {each.name: Deployed(api, NAMESPACE, each.name) for each in release.deployments}

    def states() -> set[tuple[str, str]]:
        return {
            (each.condition("Available")["status"], each.condition("Progressing")["reason"])
            for each in deployed.values()
        }

    eventually(lambda: states() == {("True", "Complete")}, "every deployment is as it is to be", SECONDS)
    assert ready_pods(api) == pods
    assert templates(api) == planned

    single, groups = deployed["single"], deployed["groups"]
    single.patch({"metadata": {"annotations": {"disagg.dev/replan": "now"}}})
    groups.edit(decode={"replicas": 3})

    def found() -> tuple[object, ...]:
        # Whether these are other pods depends on what has changed since the release.
        revisions = {
            obj["metadata"]["labels"].get("disagg.dev/revision") for obj in single.find("configmaps")
        }
        return (
            single.condition("UpToDate")["reason"],
            single.condition("Progressing")["reason"],
            revisions == {single.status()["revision"]},
            groups.status()["roles"]["decode"].get("ready"),
        )

    wanted = ("", "Complete", True, "3/3")
    with suppress(AssertionError):
        eventually(
            lambda: found() == wanted,
            "one has the pods of this version, the other one group more",
            SECONDS,
            meanwhile=lambda: make_pods_ready(api, NAMESPACE),
        )
    assert found() == wanted
    others = {name: uid for name, uid in pods.items() if not name.startswith("single-")}
    assert others.items() <= ready_pods(api).items()

    for name in examples:
        api.delete("disaggdeployments", EXAMPLES, name)
    for each in deployed.values():
        api.delete("disaggdeployments", NAMESPACE, each.name)
    eventually(
        lambda: not everything(api) - before,
        "nothing is left of any deployment",
        SECONDS,
    )
    assert running.stop() == 0


def test_a_field_of_a_later_version_is_refused_and_what_runs_stays(server: Server) -> None:
    """After a step back, with the later definitions left in place."""
    api = server.api
    server.kubectl.text("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/disaggdeployments.disagg.dev"
    definition = api.http.get(path).json()
    (version,) = definition["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][FIELD] = {"type": "string"}
    assert api.http.put(path, json=definition).status_code in ACCEPTED
    operator = server.operator(LATER)
    operator.start()
    try:
        operator.wait_until_leading()
        deployed = Deployed(api, LATER, "demo")
        deployed.create(verification={"mode": "Off"})
        deployed.wait_for("Progressing", "Complete")
        pods = {pod["metadata"]["uid"] for pod in deployed.find("pods")}
        assert pods
        # The API server may still prune by the definition that was.
        eventually(
            lambda: FIELD in _written(deployed),
            "the definition of the later version is served",
        )
        eventually(lambda: deployed.condition("Accepted")["status"] == "False", "the operator refuses it")
        assert f"spec.{FIELD}" in deployed.condition("Accepted")["message"]
        assert deployed.condition("Available")["status"] == "True"
        assert {pod["metadata"]["uid"] for pod in deployed.find("pods")} == pods
    finally:
        operator.stop()


def _written(deployed: Deployed) -> Object:
    deployed.edit(**{FIELD: "x"})
    found: Object = deployed.resource()["spec"]
    return found
