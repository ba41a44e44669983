"""GitHub's workflows are well-formed, run what this repository has, and name nobody's registry."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from release.checkout import ROOT
from releasing.support import kubernetes, page
from testcluster.console import Progress
from testcluster.paths import default_paths
from testcluster.toolchain import ensure_checkers

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
ALLOWED_HOSTS = {"registry.hub.docker.com"}


def test_actionlint_finds_nothing() -> None:
    program = ensure_checkers(default_paths(), Progress()).path("actionlint")
    argv: list[str | Path] = [program, "-no-color", "-shellcheck=", "-pyflakes=", *WORKFLOWS]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    program = ensure_checkers(default_paths(), Progress()).path("actionlint")
    file = tmp_path / "wrong.yaml"
    file.write_text(WORKFLOWS[0].read_text().replace("runs-on", "runs_on"))
    ended = subprocess.run(
        [program, "-no-color", file], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert 'unexpected key "runs_on"' in ended.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_targets_of_make_exist(workflow: Path) -> None:
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z0-9-]+)", workflow.read_text()))
    assert used <= known
    assert used


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_hosts_come_from_variables(workflow: Path) -> None:
    hosts = set(re.findall(r"https?://([^/\s\"'$]+)", workflow.read_text()))
    assert hosts <= ALLOWED_HOSTS


def test_a_workflow_may_write_only_where_its_job_says_so() -> None:
    for workflow in WORKFLOWS:
        assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}, workflow.name


def test_the_bounds_of_kubernetes_are_what_the_workflow_tries() -> None:
    versions = dict(kubernetes(ROOT))
    assert len(versions) == 2
    assert all(told.startswith("the ") for told in versions.values()), "oldest of the chart, and our own"


def test_the_page_about_support_is_up_to_date() -> None:
    text = (ROOT / "docs" / "support.md").read_text()
    assert text == page(text, ROOT), "run make crds"


def test_a_stale_page_about_support_is_found() -> None:
    text = (ROOT / "docs" / "support.md").read_text()
    assert page(text.replace("| 1.6.1 |", "| 1.6.2 |"), ROOT) == text
