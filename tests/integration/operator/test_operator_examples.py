"""The operator makes of every example just what `render` prints, and writes a status; no pod runs.

`make test-oldest` runs this by the oldest Kubernetes that the chart takes.
"""

import os
from collections.abc import Callable, Iterator

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.cli.render import manifests
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from integration.operator.control_plane import (
    WORKER_IMAGE,
    Api,
    Deployed,
    Object,
    OperatorProcess,
    eventually,
)
from testcluster.fixtures import ApiServer
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

SETTLING_SECONDS = 300.0
"""For all at once, beside other tests; alone it is a tenth."""

WAITING = {
    "e06-deepseek-r1": ("PlatformReady", "ApiMissing"),
    "e11-llama-405b-gang": ("PlatformReady", "GangSchedulerMissing"),
    "e16-from-hub": ("ModelReady", "DownloadPending"),
}
"""Examples that need more than this cluster has: what they say, with workers that are not made yet."""


def examples() -> Iterator[Object]:
    """Yield the deployments of the examples, each by a name of its own."""
    for path in sorted((REPOSITORY / "examples").glob("*/*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] == "DisaggDeployment":
                document["metadata"] = {"name": f"e{path.parent.name[:2]}-{document['metadata']['name']}"}
                yield document


def test_every_example_becomes_what_render_prints(
    api: Api, apiserver: ApiServer, namespace: str, new_operator: Callable[..., OperatorProcess]
) -> None:
    new_operator("operator-a").wait_until_leading()
    kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
    made = {each["metadata"]["name"]: each for each in examples()}
    assert len(made) > 25
    for each in made.values():
        each["metadata"]["namespace"] = namespace
    kubectl.apply(list(made.values()))
    # As they are stored, with the definition's defaults.
    stored = {each["metadata"]["name"]: each for each in api.find("disaggdeployments", namespace)}
    expected = {name: expected_objects(stored[name]) for name in made if name not in WAITING}
    kinds = ",".join(sorted({kind for objects in expected.values() for kind, _ in objects}))

    def found() -> dict[str, set[tuple[str, str]]]:
        objects: dict[str, set[tuple[str, str]]] = {name: set() for name in made}
        for each in kubectl.json(
            "get", kinds, f"--namespace={namespace}", "--selector=disagg.dev/deployment"
        )["items"]:
            of = each["metadata"]["labels"]["disagg.dev/deployment"]
            objects[of].add((each["kind"], each["metadata"]["name"]))
        return {name: objects[name] for name in expected}

    eventually(lambda: found() == expected, "all objects are there", SETTLING_SECONDS)
    for name in made:
        kind, reason = WAITING.get(name, ("PlatformReady", "NoNodes"))
        deployed = Deployed(api, namespace, name)
        eventually(
            lambda: deployed.condition(kind)["reason"] == reason,  # noqa: B023
            f"{name} says {reason}",
            SETTLING_SECONDS,
        )
        assert deployed.condition("Accepted")["status"] == "True"


def test_this_is_the_kubernetes_that_was_asked_for(apiserver: ApiServer) -> None:
    chart = yaml.safe_load((REPOSITORY / "charts/disagg-operator/Chart.yaml").read_text(encoding="utf-8"))
    oldest = chart["kubeVersion"].removeprefix(">=").rpartition(".")[0]
    kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
    running = kubectl.json("version")["serverVersion"]["gitVersion"].removeprefix("v").rpartition(".")[0]
    assert (running == oldest) == (os.environ.get("KUBERNETES") == "oldest")


def expected_objects(resource: Object) -> set[tuple[str, str]]:
    """Return kinds and names of what is planned where nothing is known of the cluster."""
    planned = plan(accept(resource), Installation(worker_image=WORKER_IMAGE))
    return {(each["kind"], each["metadata"]["name"]) for each in manifests(planned)}
