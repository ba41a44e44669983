"""Every example renders to just the manifests beside this file. ``make update-golden`` writes them anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*/*.yaml"))


def rendered(example: Path) -> str:
    kubectl_disagg = Path(sys.executable).with_name("kubectl-disagg")
    run = subprocess.run(
        [kubectl_disagg, "render", "-f", example], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("example", FILES, ids=lambda path: path.parent.name)
def test_manifests_of_an_example(example: Path) -> None:
    golden = HERE / example.parent.name / example.name
    if "UPDATE_GOLDEN" in os.environ:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(rendered(example))
    assert rendered(example) == golden.read_text()


def test_there_is_no_golden_file_without_its_example() -> None:
    expected = {f"{path.parent.name}/{path.name}" for path in FILES}
    found = {f"{path.parent.name}/{path.name}" for path in HERE.glob("[0-9]*/*.yaml")}
    assert found == expected
