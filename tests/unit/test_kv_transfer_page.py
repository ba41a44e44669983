"""The figures of docs/kv-transfer.md are those that were measured."""

import json
from pathlib import Path

from bench.link.page import pictures, tables, updated

ROOT = Path(__file__).parents[2]
FIGURES, HOST_FIGURES = (
    json.loads((ROOT / f"tests/bench/link/figures/{name}.json").read_text(encoding="utf-8"))
    for name in ("two-h200-nvlink", "host-memory")
)
PAGE = (ROOT / "docs/kv-transfer.md").read_text(encoding="utf-8")


def test_tables_are_of_the_stored_figures() -> None:
    assert updated(PAGE, FIGURES) == PAGE
    for part, table in tables(FIGURES).items():
        assert f"<!-- figures: {part} -->\n\n{table}\n<!-- end -->" in PAGE


def test_tables_of_host_memory_are_of_the_stored_figures() -> None:
    assert updated(PAGE, HOST_FIGURES) == PAGE
    made = tables(HOST_FIGURES)
    for part in ("models", "break-even"):
        assert f"<!-- figures: host {part} -->\n\n{made[part]}\n<!-- end -->" in PAGE


def test_pictures_are_of_the_stored_figures() -> None:
    for name, picture in pictures(FIGURES).items():
        assert (ROOT / f"docs/images/{name}.svg").read_text(encoding="utf-8") == picture
        assert f"images/{name}.svg" in PAGE


def test_what_was_measured_arrived_whole() -> None:
    measured = [
        row for found in (FIGURES, HOST_FIGURES) for part in ("models", "changes") for row in found[part]
    ]
    assert all(row["whole"] for row in measured)
