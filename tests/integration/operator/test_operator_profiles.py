"""Profiles that an installation brings: used, changed, broken and taken away, on a real API server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.operator.control_plane import LIMIT_SECONDS, Api, Deployed, OperatorProcess, eventually

pytestmark = pytest.mark.apiserver

MAKER = Callable[..., OperatorProcess]


def pools(demo: Deployed) -> set[str]:
    """Return what pools of nodes the StatefulSets of a deployment are for."""
    selectors = [each["spec"]["template"]["spec"]["nodeSelector"] for each in demo.find("statefulsets")]
    return {selector["pool"] for selector in selectors}


def versions(demo: Deployed) -> dict[str, str]:
    """Return the versions of the workers and the frontend by name."""
    objects: list[dict[str, Any]] = [*demo.find("statefulsets"), *demo.find("deployments")]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in objects}


def test_profiles_of_an_installation_come_and_change_and_go(
    api: Api, namespace: str, new_operator: MAKER, tmp_path: Path
) -> None:
    folder = tmp_path / "platforms"
    (folder / "machines").mkdir(parents=True)
    profile = folder / "machines" / "lab.yaml"

    def operator(pool: str) -> OperatorProcess:
        profile.write_text(f"like: local\nnode_labels: [{{name: pool, value: {pool}}}]\n")
        started = new_operator("operator", DISAGG_PLATFORMS=str(folder))
        started.wait_until_leading()
        return started

    first = operator("a")
    demo = Deployed(api, namespace, "demo")
    demo.create(platform="lab")
    demo.wait_for("Progressing", "Complete")
    assert pools(demo) == {"a"}
    before = versions(demo)
    assert first.stop() == 0

    profile.write_text("like: local\nnode_labels: [{name: pool}]\n")
    broken = new_operator("operator", DISAGG_PLATFORMS=str(folder))
    assert broken.process is not None
    assert broken.process.wait(LIMIT_SECONDS) == 2
    (line,) = broken.log.read_text().splitlines()[-1:]
    assert line.endswith("machines/lab.yaml: node_labels[pool].value: is missing. Add it")

    without = new_operator("operator")
    without.wait_until_leading()
    eventually(lambda: demo.condition("Accepted")["status"] == "False", "the platform is missed")
    assert "there is no platform 'lab'" in demo.condition("Accepted")["message"]
    assert demo.condition("Available")["status"] == "True"
    assert versions(demo) == before
    assert without.stop() == 0

    operator("b")
    eventually(lambda: demo.condition("Accepted")["status"] == "True", "the platform is there again")
    demo.wait_for("Progressing", "Complete")
    eventually(lambda: pools(demo) == {"b"}, "the new revision took over", meanwhile=demo.make_ready)
