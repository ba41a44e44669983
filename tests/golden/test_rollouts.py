"""The steps of a few rollouts, as people read them. ``make update-golden`` writes them anew."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from disagg_operator.cli.main import app

HERE = Path(__file__).resolve().parent / "rollouts"
NOTHING = {"prefill": {"maxSurge": 0}, "decode": {"maxSurge": 0}}
SHAPES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "4-2": (4, 2, {}),
    "4-2-full-cluster": (4, 2, NOTHING),
    "4-2-all-at-once": (4, 2, {"prefill": {"maxSurge": "100%"}, "decode": {"maxSurge": "100%"}}),
    "4-2-recreate": (4, 2, {"strategy": "Recreate"}),
    "1-1": (1, 1, {}),
    "1-1-full-cluster": (1, 1, NOTHING),
    "8-3": (8, 3, {}),
    "8-3-quarter-less": (
        8,
        3,
        {"prefill": {"maxSurge": 0, "maxUnavailable": "25%"}, "decode": {"maxSurge": 0, "maxUnavailable": 1}},
    ),
    "1-6": (1, 6, {}),
}


def planned(folder: Path, prefill: int, decode: int, rollout: dict[str, Any]) -> str:
    """Return what `kubectl disagg rollout plan` prints for a change of the image."""
    files = []
    for image in ("worker:1", "worker:2"):
        spec = {
            "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
            "runtime": {"image": image},
            "prefill": {"replicas": prefill},
            "decode": {"replicas": decode},
            "rollout": rollout,
        }
        resource = {
            "apiVersion": "disagg.dev/v1alpha1",
            "kind": "DisaggDeployment",
            "metadata": {"name": "demo"},
        }
        file = folder / f"{image.replace(':', '')}.yaml"
        file.write_text(yaml.safe_dump({**resource, "spec": spec}))
        files.append(str(file))
    run = CliRunner().invoke(app, ["rollout", "plan", "--from", files[0], "-f", files[1]])
    assert run.exit_code == 0, run.output
    # Revisions change with every setting of a worker, and steps do not.
    title, *table = run.stdout.splitlines()
    lines = [
        f"prefill {prefill}, decode {decode}{title[title.index(' (') :] if ' (' in title else ''}",
        *table,
    ]
    return "\n".join(line.rstrip() for line in [*lines, *run.stderr.splitlines()]) + "\n"


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_of_a_rollout(shape: str, tmp_path: Path) -> None:
    golden = HERE / f"{shape}.txt"
    found = planned(tmp_path, *SHAPES[shape])
    if "UPDATE_GOLDEN" in os.environ:
        golden.write_text(found)
    assert found == golden.read_text()


def test_there_is_no_golden_file_without_its_shape() -> None:
    assert {file.stem for file in HERE.glob("*")} == set(SHAPES)
