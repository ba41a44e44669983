"""``kubectl disagg platforms`` as a user calls it."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import planned, trtllm


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def platforms(*arguments: str) -> str:
    result = call("platforms", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "lab.yaml").write_text("like: roce\nnode_labels: [{name: pool, value: lab}]\n")
    return tmp_path


def test_all_platforms_are_listed_with_what_a_node_has() -> None:
    _, *lines = platforms().splitlines()
    assert [line.split()[0] for line in lines] == list(builtin().machines)
    (line,) = [line for line in lines if line.startswith("aws-p5en.48xlarge ")]
    assert "8 H200" in line
    assert "vpc.amazonaws.com/efa: 16 a node" in line


def test_a_fabric_that_promises_nothing_says_so() -> None:
    assert platforms("generic").splitlines()[-1].startswith("promises: nothing")
    assert "promises: nothing" not in platforms("aws-p5.48xlarge")


def test_one_platform_shows_its_values_and_those_of_its_fabrics_with_line_and_document() -> None:
    text = platforms("aws-p6e-gb200.36xlarge")
    for title in ("machine aws-p6e-gb200.36xlarge", "fabric efa", "fabric mnnvl"):
        assert title in text
    (line,) = [line for line in text.splitlines() if "FI_EFA_ENABLE_SHM_TRANSFER" in line]
    assert "fabrics/efa.yaml:" in line
    assert "architecture arm64, image standard" in " ".join(text.split())


def test_what_is_needed_together_and_what_is_enough_alone_read_apart() -> None:
    assert "capabilities IPC_LOCK and SYS_RESOURCE" in platforms("efa")
    assert "method NIXL or UCX, backend UCX or none" in platforms("aks-infiniband")


def test_a_fabric_can_be_shown_by_itself() -> None:
    assert "fabric gke-rdma" in platforms("gke-rdma")


def test_json_holds_what_yaml_holds() -> None:
    assert json.loads(platforms("roce", "-o", "json")) == list(
        yaml.safe_load_all(platforms("roce", "-o", "yaml"))
    )
    listing = json.loads(platforms("-o", "json"))
    assert [machine["name"] for machine in listing] == list(builtin().machines)


@pytest.mark.parametrize("name", ["aws-p5.48xlarge", "gke-a4x", "oci-bm.gpu.b200.8"])
def test_the_yaml_of_a_platform_is_a_profile_that_means_the_same(name: str, tmp_path: Path) -> None:
    machine, *_ = yaml.safe_load_all(platforms(name, "-o", "yaml"))
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "copy.yaml").write_text(yaml.safe_dump({**machine, "name": "copy"}))
    shown = json.loads(platforms("copy", "-f", str(tmp_path), "-o", "json"))[0]
    assert {**shown, "name": name} == machine


def test_the_yaml_of_a_platform_can_be_written_into_a_deployment() -> None:
    machine, *_ = yaml.safe_load_all(platforms("aws-p5.48xlarge", "-o", "yaml"))
    assert planned(platformProfile=machine).revision == planned("aws-p5.48xlarge").revision


def test_profiles_of_a_folder_are_among_them(folder: Path) -> None:
    assert "\nlab " in platforms("-f", str(folder))
    assert "machines/lab.yaml:2" in platforms("lab", "-f", str(folder))


def test_every_command_that_plans_knows_a_folder_of_profiles(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(trtllm("lab")))
    for command in ("render", "lint"):
        assert call(command, "-f", str(file), "--profiles", str(folder)).exit_code == 0
        without = call(command, "-f", str(file))
        assert without.exit_code == 1
        assert "there is no platform 'lab'" in " ".join((without.stdout + without.stderr).split())


def test_a_wrong_name_and_a_wrong_folder_are_told(folder: Path) -> None:
    wrong = call("platforms", "p5")
    meant = "there is no platform and no fabric 'p5'. Did you mean aws-p5.48xlarge or "
    assert (wrong.exit_code, meant in wrong.stderr) == (1, True)
    (folder / "machines" / "lab.yaml").write_text("gpus: 8\n")
    bad = call("platforms", "-f", str(folder))
    assert (bad.exit_code, bad.stderr.startswith("machines/lab.yaml: gpus: ")) == (1, True)
