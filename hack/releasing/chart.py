"""The chart as a package, as `helm package` makes it, but with the same bytes every time.

It is made without Helm, so that a release does not depend on its version: Helm writes the time into archives,
and Chart.yaml in its own way. A test compares the files with those of `helm package`. Where it is published,
which a release alone knows, is added to Chart.yaml.
"""

from fnmatch import fnmatch
from pathlib import Path

import yaml

from releasing.archives import write_archive
from releasing.images import NAMES
from releasing.source import Source

CHART = Path("charts/disagg-operator")
LINKS = {
    "Documentation": "docs/README.md",
    "Change log": "CHANGELOG.md",
    "What is supported": "docs/support.md",
    "Security": "docs/security.md",
    "Report a vulnerability": "SECURITY.md",
}
"""Files of the repository that the chart's page leads to."""
_DESCRIPTION = "Chart.yaml"
_IMAGES = "artifacthub.io/images"
_PLATFORMS = ["linux/amd64", "linux/arm64"]


def package_chart(source: Source, folder: Path, version: str) -> Path:
    """Write the chart's package into a folder and return its path."""
    chart = source.root / CHART
    lines = (line.strip() for line in (chart / ".helmignore").read_text(encoding="utf-8").splitlines())
    ignored = [line for line in lines if line and not line.startswith("#")]
    files = {
        f"{CHART.name}/{path.relative_to(chart)}": path.read_bytes()
        for path in chart.rglob("*")
        if path.is_file() and not _is_ignored(path.relative_to(chart), ignored)
    }
    description = f"{CHART.name}/{_DESCRIPTION}"
    files[description] = published(files[description].decode(), source, version).encode()
    package = folder / f"{CHART.name}-{version}.tgz"
    write_archive(package, files, source.time, frozenset())
    return package


def published(description: str, source: Source, version: str) -> str:
    """Return Chart.yaml with where the release is published: links, and the images that it has in a registry.

    Args:
        description: the text of Chart.yaml.
        source: what the release is made from; where it names no place, the text stays as it is.
        version: of the release.
    """
    if not source.url and not source.registry:
        return description
    chart = yaml.safe_load(description)
    annotations = chart["annotations"]
    if source.url:
        chart |= {"home": source.url, "sources": [source.url]}
        chart["maintainers"] = [{**each, "url": source.url} for each in chart["maintainers"]]
        files = f"{source.url}/blob/v{version}"
        links = [{"name": name, "url": f"{files}/{path}"} for name, path in LINKS.items()]
        # Artifact Hub shows a link of this name as the way to report a problem.
        links.append({"name": "support", "url": f"{source.url}/issues"})
        annotations["artifacthub.io/links"] = yaml.safe_dump(links, sort_keys=False)
    if source.registry:
        own = [
            {"name": name, "image": f"{source.registry}/disagg-{name}:{version}", "platforms": _PLATFORMS}
            for name in NAMES
        ]
        listed = [*own, *yaml.safe_load(annotations[_IMAGES])]
        annotations[_IMAGES] = yaml.safe_dump(listed, sort_keys=False)
    return str(yaml.safe_dump(chart, sort_keys=False, width=1000))


def _is_ignored(path: Path, patterns: list[str]) -> bool:
    folders = {f"{part}/" for part in path.parts[:-1]}
    return any(pattern in folders or fnmatch(path.name, pattern) for pattern in patterns)
