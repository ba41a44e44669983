"""Each deployment in ``platforms/``, ``NAME.yaml``, renders to just the manifests in ``NAME.manifests.yaml``.

``make update-golden`` writes them anew.
"""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from disagg_operator.cli.main import app

HERE = Path(__file__).resolve().parent / "platforms"
WORKER_IMAGE = "disagg-worker:latest"
"""Not the release's, with which all files would change."""
MANIFESTS = ".manifests.yaml"
INPUTS = sorted(path for path in HERE.glob("*.yaml") if not path.name.endswith(MANIFESTS))


@pytest.mark.parametrize("deployment", INPUTS, ids=lambda path: path.stem)
def test_manifests_of_a_platform(deployment: Path) -> None:
    result = CliRunner().invoke(app, ["render", "-f", str(deployment), "--worker-image", WORKER_IMAGE])
    assert result.exit_code == 0, result.stderr
    golden = deployment.with_suffix(MANIFESTS)
    if "UPDATE_GOLDEN" in os.environ:
        golden.write_text(result.stdout)
    assert result.stdout == golden.read_text()


def test_there_are_no_manifests_without_a_deployment() -> None:
    assert {path.name for path in HERE.glob(f"*{MANIFESTS}")} == {
        f"{path.stem}{MANIFESTS}" for path in INPUTS
    }
