"""Writes docs/metrics.md and the dashboards of the chart; with --check, only says which are out of date."""

import sys
from pathlib import Path

from monitoring.operator_board import operator_board
from monitoring.page import page
from monitoring.panels import text_of
from monitoring.serving_board import serving_board
from settling import settle

DASHBOARDS = Path("charts/disagg-operator/files/dashboards")


def files() -> dict[Path, str]:
    """Return what is generated, by its place in the repository."""
    return {
        Path("docs/metrics.md"): page(),
        DASHBOARDS / "operator.json": text_of(operator_board()),
        DASHBOARDS / "serving.json": text_of(serving_board()),
    }


if __name__ == "__main__":
    sys.exit(settle(files()))
