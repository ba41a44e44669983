"""Writes docs/metrics.md and the dashboards of the chart; with --check, only says which are out of date."""

import sys
from pathlib import Path

from monitoring.operator_board import operator_board
from monitoring.page import page
from monitoring.panels import text_of
from monitoring.serving_board import serving_board

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = Path("charts/disagg-operator/files/dashboards")


def files() -> dict[Path, str]:
    """Return what is generated, by its place in the repository."""
    return {
        Path("docs/metrics.md"): page(),
        DASHBOARDS / "operator.json": text_of(operator_board()),
        DASHBOARDS / "serving.json": text_of(serving_board()),
    }


def main() -> int:
    """Run the command and return its exit status."""
    stale = [
        (path, text)
        for path, text in files().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"{path} is out of date: run make crds\n")
        else:
            (ROOT / path).parent.mkdir(exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
