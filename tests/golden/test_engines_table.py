"""The table of combinations in docs/engines.md is true and complete."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/engines.md"
GOLDEN = ROOT / "tests/golden"
MANIFESTS = ".manifests.yaml"

Combination = tuple[str, ...]
"""Engine, frontend, library and plugin that move KV cache, discovery, one node or several."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        combination: what it is about.
        shown: run or rendered.
        files: files that it names.
        tests: names of tests in them.
    """

    combination: Combination
    shown: str
    files: tuple[Path, ...]
    tests: tuple[str, ...]


def rows() -> list[Row]:
    found = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 7 and cells[5] in ("run", "rendered"):
            links = re.findall(r"\]\(([^)]+)\)", cells[6])
            files = tuple((DOCUMENT.parent / link).resolve() for link in links)
            found.append(Row(tuple(cells[:5]), cells[5], files, tuple(re.findall(r"`(\w+)`", cells[6]))))
    return found


def deployment_of(golden: Path) -> Path:
    """Return the deployment that rendered to a golden file."""
    if golden.name.endswith(MANIFESTS):
        return golden.with_name(golden.name.removesuffix(MANIFESTS) + ".yaml")
    return ROOT / "examples" / golden.parent.name / golden.name


def combination(deployment: Path) -> Combination:
    documents = yaml.safe_load_all(deployment.read_text(encoding="utf-8"))
    (resource,) = [each for each in documents if each["kind"] == "DisaggDeployment"]
    planned = plan(accept(resource), Installation("worker:test"))
    runtime = accept(resource).spec.runtime
    transfer = planned.transfer
    moved = "nothing" if transfer.simulated else str(transfer).replace("/", " ")
    found = planned.discovery.backend
    by = f"{found}, NATS" if planned.discovery.nats_server else found
    nodes = "several" if any(role.nodes > 1 for role in planned.roles.values()) else "one"
    return (runtime.engine.value, runtime.frontend.value, moved, by, nodes)


ROWS = rows()
DEPLOYMENTS = sorted(
    [
        *(ROOT / "examples").glob("*/*.yaml"),
        *(path for path in (GOLDEN / "platforms").glob("*.yaml") if not path.name.endswith(MANIFESTS)),
    ]
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row.combination))
def test_a_row_names_what_shows_it(row: Row) -> None:
    assert row.files
    for file in row.files:
        assert file.is_file(), file
    if row.shown == "rendered":
        assert all(GOLDEN in file.parents for file in row.files)
        assert {combination(deployment_of(file)) for file in row.files} == {row.combination}
    else:
        written = "".join(file.read_text(encoding="utf-8") for file in row.files)
        assert row.tests
        assert all(f"def {name}(" in written for name in row.tests)


def test_no_combination_stands_there_twice() -> None:
    found = [row.combination for row in ROWS]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_deployment_has_its_row(deployment: Path) -> None:
    assert combination(deployment) in {row.combination for row in ROWS}
