"""The package of a release is the chart: what Helm itself would have packed, and Helm takes it."""

import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import CHART, IMAGES, Helm, settings
from disagg_operator.platforms.catalogue import services
from releasing.chart import LINKS, package_chart, published
from releasing.hub import annotations, is_security_update, with_annotations
from releasing.source import Source

ROOT = CHART.parents[1]
DESCRIPTION = (CHART / "Chart.yaml").read_text()
VERSION = yaml.safe_load(DESCRIPTION)["version"]
SOURCE = Source(ROOT, "c" * 40, 0, modified=False, url="")
PUBLISHED = replace(SOURCE, url="https://example.com/it", registry="registry.example.com/it")


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        files = {name: opened.extractfile(name) for name in opened.getnames()}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_it_holds_what_helm_would_pack(helm: Helm, tmp_path: Path) -> None:
    package = package_chart(SOURCE, tmp_path, VERSION)
    helm("package", CHART, "--destination", tmp_path / "helm")
    ours, theirs = contents(package), contents(tmp_path / "helm" / package.name)
    description = "disagg-operator/Chart.yaml"
    # Helm writes this one anew.
    assert yaml.safe_load(ours.pop(description)) == yaml.safe_load(theirs.pop(description))
    assert ours == theirs


@pytest.mark.parametrize("source", [SOURCE, PUBLISHED], ids=["here", "published"])
def test_helm_takes_it(helm: Helm, tmp_path: Path, source: Source) -> None:
    package = package_chart(source, tmp_path, VERSION)
    assert f"version: {VERSION}" in helm("show", "chart", package)
    assert "0 chart(s) failed" in helm("lint", "--strict", package, *settings(**IMAGES))
    values = settings(**IMAGES)
    assert helm("template", "it", package, *values) == helm("template", "it", CHART, *values)


def told(description: str, name: str) -> Any:
    """Return what an annotation of Artifact Hub says."""
    return yaml.safe_load(yaml.safe_load(description)["annotations"][f"artifacthub.io/{name}"])


def test_artifact_hub_is_told_what_the_repository_says() -> None:
    assert with_annotations(DESCRIPTION, annotations(ROOT)) == DESCRIPTION, "out of date: run make crds"
    crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    kinds = {crd["spec"]["names"]["kind"]: crd["metadata"]["name"] for crd in crds}
    assert {each["kind"]: each["name"] for each in told(DESCRIPTION, "crds")} == kinds
    assert {each["kind"] for each in told(DESCRIPTION, "crdsExamples")} <= kinds.keys()
    assert {each["image"] for each in told(DESCRIPTION, "images")} == {
        service.image.value for service in services().values()
    }


def test_a_changed_definition_makes_the_annotations_stale() -> None:
    made = annotations(ROOT)
    made["artifacthub.io/crds"] = made["artifacthub.io/crds"].replace("workers", "pods")
    assert with_annotations(DESCRIPTION, made) != DESCRIPTION


@pytest.mark.parametrize(
    ("changes", "security"),
    [
        ("# Log\n\n## 1.1.0\n\n### Security\n\n- It.\n\n## 1.0.0\n", True),
        ("# Log\n\n## 1.1.0\n\n### Fixed\n\n- It.\n\n## 1.0.0\n\n### Security\n\n- Before.\n", False),
        ("# Log\n", False),
    ],
)
def test_a_release_about_security_says_so(changes: str, security: bool) -> None:
    assert is_security_update(changes) is security


def test_a_release_names_its_images_and_where_it_is() -> None:
    text = published(DESCRIPTION, PUBLISHED, VERSION)
    images = {each["name"]: each for each in told(text, "images")}
    assert images["operator"]["image"] == f"registry.example.com/it/disagg-operator:{VERSION}"
    assert images["worker"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert images.keys() == {"operator", "worker", *services()}
    assert [each["url"] for each in told(text, "links")] == [
        *(f"https://example.com/it/blob/v{VERSION}/{path}" for path in LINKS.values()),
        "https://example.com/it/issues",
    ]
    assert all((ROOT / path).is_file() for path in LINKS.values())
    chart = yaml.safe_load(text)
    assert (chart["home"], chart["maintainers"][0]["url"]) == (PUBLISHED.url, PUBLISHED.url)


def test_where_nothing_is_known_of_that_the_description_stays() -> None:
    assert published(DESCRIPTION, SOURCE, VERSION) == DESCRIPTION
