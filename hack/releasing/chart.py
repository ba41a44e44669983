"""The chart as a package, as `helm package` makes it, but with the same bytes every time.

It is made without Helm, so that a release does not depend on its version: Helm writes the time into archives,
and Chart.yaml in its own way. A test compares the files with those of `helm package`.
"""

from fnmatch import fnmatch
from pathlib import Path

from releasing.archives import write_archive

CHART = Path("charts/disagg-operator")


def package_chart(root: Path, folder: Path, version: str, time: int) -> Path:
    """Write the chart's package into a folder and return its path."""
    chart = root / CHART
    lines = (line.strip() for line in (chart / ".helmignore").read_text(encoding="utf-8").splitlines())
    ignored = [line for line in lines if line and not line.startswith("#")]
    files = {
        f"{CHART.name}/{path.relative_to(chart)}": path.read_bytes()
        for path in chart.rglob("*")
        if path.is_file() and not _is_ignored(path.relative_to(chart), ignored)
    }
    package = folder / f"{CHART.name}-{version}.tgz"
    write_archive(package, files, time, frozenset())
    return package


def _is_ignored(path: Path, patterns: list[str]) -> bool:
    folders = {f"{part}/" for part in path.parts[:-1]}
    return any(pattern in folders or fnmatch(path.name, pattern) for pattern in patterns)
