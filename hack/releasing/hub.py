"""What Artifact Hub is told of the chart in Chart.yaml, from definitions, example, profiles and change log.

Run as a program it rewrites Chart.yaml, or with --check only compares. What only a release knows, where it is
published, is added to the package (chart.py).
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from disagg_operator.platforms.catalogue import services
from settling import ROOT, settle

CHART = Path("charts/disagg-operator/Chart.yaml")
CRDS = Path("crds")
EXAMPLE = Path("examples/01-quickstart/smollm2.yaml")
CHANGES = Path("CHANGELOG.md")
_MARKED = re.compile(r"( *# What follows is made by `make crds`[^\n]*\n).*?( *# End\.\n)", re.DOTALL)
_RELEASE = re.compile(r"^## .*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"(?<=[a-z])(?=[A-Z])")


def definitions(root: Path) -> Iterator[dict[str, Any]]:
    """Yield an entry for each version of each CustomResourceDefinition."""
    for path in sorted((root / CRDS).glob("*.yaml")):
        crd = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = crd["spec"]["names"]["kind"]
        for version in crd["spec"]["versions"]:
            yield {
                "kind": kind,
                "version": version["name"],
                "name": crd["metadata"]["name"],
                "displayName": _NAME.sub(" ", kind).capitalize(),
                "description": version["schema"]["openAPIV3Schema"]["description"],
            }


def images() -> list[dict[str, str]]:
    """Return an entry for each image that a registry has: of services that deployments may need."""
    return [{"name": name, "image": each.image.value} for name, each in sorted(services().items())]


def is_security_update(changes: str) -> bool:
    """Tell whether the newest section of the change log has a part about security."""
    newest = _RELEASE.search(changes)
    return newest is not None and "\n### Security\n" in newest[0]


def annotations(root: Path) -> dict[str, str]:
    """Return the annotations that repeat what other files say."""
    example = yaml.safe_load((root / EXAMPLE).read_text(encoding="utf-8"))
    security = is_security_update((root / CHANGES).read_text(encoding="utf-8"))
    return {
        "artifacthub.io/containsSecurityUpdates": str(security).lower(),
        "artifacthub.io/crds": _written([*definitions(root)]),
        "artifacthub.io/crdsExamples": _written([example]),
        "artifacthub.io/images": _written(images()),
    }


def with_annotations(text: str, made: dict[str, str]) -> str:
    """Return Chart.yaml with the annotations that are made between its marks."""
    lines = []
    for name, value in made.items():
        if "\n" in value:
            lines += [f"  {name}: |", *(f"    {line}" for line in value.splitlines())]
        else:
            lines.append(f'  {name}: "{value}"')
    return _MARKED.sub(lambda marks: "\n".join([marks[1].rstrip("\n"), *lines, marks[2]]), text)


def _written(value: list[Any]) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, width=1000))


if __name__ == "__main__":
    text = (ROOT / CHART).read_text(encoding="utf-8")
    sys.exit(settle({CHART: with_annotations(text, annotations(ROOT))}))
