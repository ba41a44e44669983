"""The figures of docs/kv-transfer.md are those that were measured."""

import json
from pathlib import Path

from bench.link.page import pictures, tables, updated

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "tests/bench/link/figures/two-h200-nvlink.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/kv-transfer.md").read_text(encoding="utf-8")


def test_tables_are_of_the_stored_figures() -> None:
    assert updated(PAGE, FIGURES) == PAGE
    for part, table in tables(FIGURES).items():
        assert f"<!-- figures: {part} -->\n\n{table}\n<!-- end -->" in PAGE


def test_pictures_are_of_the_stored_figures() -> None:
    for name, picture in pictures(FIGURES).items():
        assert (ROOT / f"docs/images/{name}.svg").read_text(encoding="utf-8") == picture
        assert f"images/{name}.svg" in PAGE


def test_what_was_measured_arrived_whole() -> None:
    assert all(row["whole"] for part in ("models", "changes") for row in FIGURES[part])
