"""Deployments of stored releases, reconciled by this version on the FAKE cluster: nothing restarts."""

import copy

import pytest

from disagg_operator.reconcile.kinds import Object
from unit.reconcile.test_kept import upgraded
from unit.reconcile.test_reconciler import drive
from upgrade.release import Deployment, Example, releases
from upgrade.store import INSTALLATION, RecordingCluster, mark, settled

EXAMPLES = [
    pytest.param(example, id=f"{release.folder.name}-{name}")
    for release in releases()
    for name, example in release.examples.items()
]
DEPLOYMENTS = pytest.mark.parametrize(
    "deployed",
    [
        pytest.param(deployed, id=f"{release.folder.name}-{deployed.name}")
        for release in releases()
        for deployed in release.deployments
    ],
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_a_release_is_planned_from_the_same_inputs(example: Example) -> None:
    """Were the hash another one, an upgrade would restart every worker."""
    assert mark(example.resource)["inputs"] == example.inputs


def restored(deployed: Deployment) -> RecordingCluster:
    """Return the fake cluster as a release left it."""
    resource = copy.deepcopy(deployed.resource)
    resource["metadata"] |= {"uid": f"uid-of-{deployed.name}", "generation": 1, "resourceVersion": "1"}
    cluster = RecordingCluster(resource)
    for number, body in enumerate(deployed.children):
        metadata = {
            "uid": f"uid-{number}",
            "resourceVersion": f"{number}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
        }
        made = {**copy.deepcopy(body), "metadata": {**copy.deepcopy(body["metadata"]), **metadata}}
        shelf = cluster.secrets if body["kind"] == "Secret" else cluster.objects
        shelf[body["kind"], body["metadata"]["name"]] = made
    cluster.settle()
    return cluster


def pods(cluster: RecordingCluster) -> dict[str, tuple[str, Object]]:
    """Return uid and pod template of all that makes pods."""
    return {
        name: (obj["metadata"]["uid"], obj["spec"]["template"])
        for (kind, name), obj in cluster.objects.items()
        if kind in {"StatefulSet", "Deployment"}
    }


def used(cluster: RecordingCluster) -> dict[str, Object]:
    """Return content of the ConfigMaps and Services of workers, which their pods know by name."""
    return {
        f"{kind} {name}": copy.deepcopy(obj["data" if kind == "ConfigMap" else "spec"])
        for (kind, name), obj in cluster.objects.items()
        if kind in {"ConfigMap", "Service"} and "disagg.dev/revision" in obj["metadata"]["labels"]
    }


@DEPLOYMENTS
def test_its_pods_are_kept(deployed: Deployment) -> None:
    cluster = restored(deployed)
    before, beside = pods(cluster), used(cluster)
    assert before
    assert beside
    upgraded(cluster, INSTALLATION)
    assert pods(cluster) == before
    assert used(cluster) == beside
    assert cluster.condition("Available")["status"] == "True"


@DEPLOYMENTS
def test_its_further_workers_are_like_those_beside_them(deployed: Deployment) -> None:
    cluster = restored(deployed)
    before = {name: found for name, found in pods(cluster).items() if not name.endswith("-frontend")}
    upgraded(cluster, INSTALLATION)
    assert cluster.resource
    if "scaling" in cluster.resource["spec"]:
        cluster.objects["DisaggScaler", f"{deployed.name}-decode"]["spec"]["replicas"] = 3
    else:
        cluster.edit(decode={"replicas": 3})
    upgraded(cluster, INSTALLATION)
    assert before.items() <= pods(cluster).items()
    assert cluster.resource["status"]["roles"]["decode"]["ready"] == "3/3"


@DEPLOYMENTS
def test_once_it_is_asked_for_it_is_as_if_it_were_new(deployed: Deployment) -> None:
    cluster = restored(deployed)
    drive(cluster, INSTALLATION)
    assert cluster.resource
    asked = {"annotations": {"disagg.dev/replan": "now"}}
    cluster.resource["metadata"] |= asked
    upgraded(cluster, INSTALLATION)
    made = {key: value for key, value in deployed.resource.items() if key != "status"}
    made = {**made, "metadata": {**made["metadata"], **asked}}
    new = settled(made)
    assert set(cluster.objects) == set(new.objects)
    assert {name: template for name, (_, template) in pods(cluster).items()} == {
        name: template for name, (_, template) in pods(new).items()
    }
