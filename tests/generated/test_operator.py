"""A part of the resources on a real API server, without a webhook, judged by an operator process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generated.conftest import Run
from generated.judges import Namespace, Server, by_reconcile
from generated.resources import NAMESPACE, Object, Sort, make
from integration.operator.conftest import operators
from integration.operator.control_plane import Api, OperatorProcess, eventually
from testcluster.fixtures import ApiServer

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(0)]

MOST_OBJECTS = 40
"""Of one deployment: those with a thousand pod groups would be all that is waited for."""
CHILDREN = ("statefulsets", "deployments", "services", "configmaps")
LIMIT_SECONDS = 280.0


@pytest.fixture
def operator(apiserver: ApiServer, api: Api, tmp_path: Path) -> Iterator[OperatorProcess]:  # noqa: ARG001
    """An operator process that leads; no line of its log may be a traceback."""
    with operators(apiserver, NAMESPACE, tmp_path) as new:
        process = new("operator-a")
        process.wait_until_leading()
        yield process
        assert "Traceback" not in process.log.read_text(encoding="utf-8")


def created(run: Run, server: Server) -> dict[str, tuple[Object, bool, Namespace]]:
    """Create resources; return them by name, with whether the in-process reconcile accepts them."""
    found = {}
    for number in run.sample(25, 24):
        made = make(run.seed, number)
        if made.sort is Sort.METADATA:
            continue
        answered, stored = server.create(made.resource)
        if stored is None:
            continue
        verdict, cluster = by_reconcile(stored)
        if len(cluster.objects) > MOST_OBJECTS:
            continue
        answered, stored = server.create(made.resource, really=True)
        assert stored is not None, (made.told, answered)
        found[stored["metadata"]["name"]] = stored, verdict.accepted, cluster
    return found


def verdict_of(api: Api, name: str) -> tuple[bool, int] | None:
    """Return whether the operator accepts a deployment, and of which generation that is said."""
    status = api.get("disaggdeployments", NAMESPACE, name).get("status", {})
    told = [each for each in status.get("conditions", []) if each["type"] == "Accepted"]
    return (told[0]["status"] == "True", status["observedGeneration"]) if told else None


def children(api: Api, name: str) -> dict[str, Any]:
    """Return generations of a deployment's objects, or what they hold where they have none."""
    return {
        f"{kind}/{obj['metadata']['name']}": obj["metadata"].get("generation")
        or obj.get("data", obj.get("spec"))
        for kind in CHILDREN
        for obj in api.find(kind, NAMESPACE, f"disagg.dev/deployment={name}")
    }


@pytest.mark.usefixtures("operator")
def test_the_operator_judges_alike_and_a_wrong_edit_changes_nothing(
    run: Run, server: Server, api: Api
) -> None:
    found = created(run, server)
    accepted = {name: stored for name, (stored, is_accepted, _) in found.items() if is_accepted}
    refused = {name: stored for name, (stored, is_accepted, _) in found.items() if not is_accepted}
    assert accepted
    assert refused
    for name, (_, is_accepted, cluster) in found.items():
        eventually(lambda n=name: verdict_of(api, n), f"{name} is judged", seconds=LIMIT_SECONDS)  # type: ignore[misc]
        verdict = verdict_of(api, name)
        assert verdict is not None
        assert verdict[0] == is_accepted, name
        if is_accepted:
            wanted = {made for kind, made in cluster.objects if kind == "StatefulSet"}
            eventually(
                lambda n=name, w=wanted: w <= {key.split("/")[1] for key in children(api, n)},  # type: ignore[misc]
                f"{name} has its StatefulSets",
                seconds=LIMIT_SECONDS,
            )
    wrong = list(refused.values())
    for number, name in enumerate(accepted):
        before = children(api, name)
        path = api.path("disaggdeployments", NAMESPACE, name)
        live = api.get("disaggdeployments", NAMESPACE, name)
        answer = api.http.put(path, json={**live, "spec": wrong[number % len(wrong)]["spec"]})
        if not answer.is_success:  # what cannot change, such as numNodes
            continue
        edited = answer.json()["metadata"]["generation"]
        eventually(
            lambda n=name, e=edited: verdict_of(api, n) == (False, e),  # type: ignore[misc]
            f"the edit of {name} is refused",
            seconds=LIMIT_SECONDS,
        )
        assert children(api, name) == before, name
    print(f"\noperator process: {len(accepted)} accepted and edited, {len(refused)} refused")
    for name in found:
        api.delete("disaggdeployments", NAMESPACE, name)
