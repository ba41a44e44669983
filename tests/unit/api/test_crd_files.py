"""The written CRD: deterministic bytes, complete descriptions, and a chart template that says the same."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_operator.api.crd.__main__ import CHART_TEMPLATES, files, stale
from disagg_operator.api.crd.definition import definition
from disagg_operator.api.crd.text import plain, template

VERSION = definition()["spec"]["versions"][0]
SPEC = VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "disagg_operator.api.crd", "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / CHART_TEMPLATES).mkdir(parents=True)
    return tmp_path


def test_same_models_same_bytes() -> None:
    assert files() == files()
    assert plain(definition()) == plain(definition())


def test_header_says_how_it_was_made() -> None:
    assert plain(definition()).startswith("# Made from ")
    assert yaml.safe_load(plain(definition())) == definition()


def test_every_field_is_described() -> None:
    undescribed = [
        path for path, node in nodes(SPEC, "spec") if not path.endswith("[]") and not node.get("description")
    ]
    assert undescribed == []


def test_everything_that_may_be_left_out_tells_its_default() -> None:
    silent = [
        f"{path}.{name}"
        for path, node in nodes(SPEC, "spec")
        for name, child in node.get("properties", {}).items()
        if name not in node.get("required", ())
        and "properties" not in child
        and "Default:" not in child["description"]
    ]
    assert silent == []


def test_status_has_no_defaults() -> None:
    status = VERSION["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert [path for path, node in nodes(status, "status") if "default" in node] == []


def test_rules_carry_remedies() -> None:
    messages = [
        rule["message"]
        for _, node in nodes(VERSION["schema"]["openAPIV3Schema"], "")
        for rule in node.get("x-kubernetes-validations", ())
    ]
    assert len(messages) >= 8
    assert all(re.search(r": \w+ ", message) for message in messages), messages


def test_chart_template_says_the_same() -> None:
    text = template(definition())
    versioned = text.replace("{{ .Chart.Version | quote }}", '"1.2.3"')
    body = re.sub(r"^.*\{\{-? (?:if|end|include|/\*).*\}\}$\n?", "", versioned, flags=re.MULTILINE)
    assert yaml.safe_load(body)["spec"] == definition()["spec"]
    assert yaml.safe_load(body)["metadata"]["annotations"]["disagg.dev/chart-version"] == "1.2.3"
    assert text.count("{{- if .Values.crds.enabled }}") == 1
    assert "helm.sh/resource-policy: keep" in text


def test_chart_template_escapes_braces() -> None:
    crd = {**definition(), "spec": {"description": "a {{ b }}"}}
    assert '{{ "{{" }} b }}' in template(crd)


def test_command_writes_then_finds_nothing_stale(root: Path) -> None:
    assert run(root, "--check").returncode == 1
    written = run(root)
    assert written.returncode == 0, written.stderr
    assert len(written.stdout.splitlines()) == 5
    assert run(root, "--check").returncode == 0
    assert run(root).stdout == ""


def test_check_names_a_stale_file(root: Path) -> None:
    run(root)
    file = root / "crds" / "disagg.dev_disaggdeployments.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    checked = run(root, "--check")
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"crds/{file.name} is stale: run ")
    assert stale(root) == [Path("crds") / file.name]


def test_command_outside_the_repository_says_so(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.returncode == 2
    assert "is not the repository's root" in result.stderr
