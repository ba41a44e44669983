"""The page about the resources tells every field, once, as the definitions have it."""

import re
from collections.abc import Iterator
from typing import Any

from disagg_operator.api.crd.definition import definitions
from disagg_operator.api.crd.page import page

PAGE = page(definitions())
ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]


def fields(node: dict[str, Any]) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        yield name
        yield from fields(child)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from fields(node[key])


def test_every_field_has_a_row() -> None:
    wanted = [
        name
        for crd in definitions()
        for part in ("spec", "status")
        for name in fields(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part])
    ]
    assert sorted(row.split("`")[1] for row in ROWS) == sorted(wanted)


def test_a_row_tells_type_bounds_and_default() -> None:
    (row,) = [row for row in ROWS if row.startswith("| `timeoutSeconds` |")]
    assert row.startswith(
        "| `timeoutSeconds` | integer, 1 to 3600 | 60 | Seconds that one transfer may take,"
    )
    assert "Default:" not in row
    assert "From 1" not in row
    (backend,) = [row for row in ROWS if row.startswith("| `nixlBackend` | `UCX`, `LIBFABRIC` |")]
    assert "the fabric's" in backend
    assert any(row.startswith("| `model` |") and "| **required** |" in row for row in ROWS)


def test_objects_lead_to_their_own_part() -> None:
    anchors = {re.sub(r"[^\w -]", "", line[4:].lower()).replace(" ", "-") for line in PAGE.splitlines()}
    linked = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    assert linked <= anchors
    assert {"specmodelsource", "disaggscaler-spec"} <= anchors


def test_rows_have_as_many_cells_as_their_heads() -> None:
    width = 0
    for line in PAGE.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("|---"):
            width = cells
        elif line.startswith("| `"):
            assert cells == width, line
