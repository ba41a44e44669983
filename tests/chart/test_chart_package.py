"""The package of a release is the chart: what Helm itself would have packed, and Helm takes it."""

import tarfile
from pathlib import Path

import yaml

from chart.helm import CHART, IMAGES, Helm, settings
from releasing.chart import package_chart

VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        files = {name: opened.extractfile(name) for name in opened.getnames()}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_it_holds_what_helm_would_pack(helm: Helm, tmp_path: Path) -> None:
    package = package_chart(CHART.parents[1], tmp_path, VERSION, 0)
    helm("package", CHART, "--destination", tmp_path / "helm")
    ours, theirs = contents(package), contents(tmp_path / "helm" / package.name)
    description = "disagg-operator/Chart.yaml"
    # Helm writes this one anew.
    assert yaml.safe_load(ours.pop(description)) == yaml.safe_load(theirs.pop(description))
    assert ours == theirs


def test_helm_takes_it(helm: Helm, tmp_path: Path) -> None:
    package = package_chart(CHART.parents[1], tmp_path, VERSION, 0)
    assert f"version: {VERSION}" in helm("show", "chart", package)
    values = settings(**IMAGES)
    assert helm("template", "it", package, *values) == helm("template", "it", CHART, *values)
