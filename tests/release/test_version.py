"""The version is said in one place, and everything that bears it agrees."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from release.checkout import ROOT, committed_copy
from releasing import version as versions
from releasing.commands import ReleaseError
from testcluster.toolchain import uv


def test_all_places_agree() -> None:
    assert list(versions.disagreements(ROOT)) == []


def test_the_command_line_and_the_installed_package_say_it() -> None:
    program = Path(sys.executable).with_name("kubectl-disagg")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == f"kubectl-disagg {versions.current(ROOT)}\n"
    assert version("disagg-worker") == versions.current(ROOT)


def test_another_version_is_written_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV", uv())
    checkout = committed_copy(tmp_path / "copy")
    versions.write(checkout, "12.0.3")
    assert versions.current(checkout) == "12.0.3"
    assert list(versions.disagreements(checkout)) == []
    chart = yaml.safe_load((checkout / "charts" / "disagg-operator" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == ("12.0.3", "12.0.3")
    subprocess.run([uv(), "lock", "--check", "--quiet"], cwd=checkout, check=True, timeout=120)


@pytest.mark.parametrize("wrong", ["", "1.2", "v1.2.3", "1.2.3-rc.1", "1.2.3\n"])
def test_a_version_that_not_all_formats_share_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ReleaseError, match=r"write it as 1\.2\.3"):
        versions.write(tmp_path, wrong)


def test_a_place_that_lost_the_version_is_told(tmp_path: Path) -> None:
    checkout = committed_copy(tmp_path / "copy")
    file = checkout / "images" / "operator" / "Containerfile"
    file.write_text(file.read_text().replace("image.version", "image.ref.name"))
    assert list(versions.disagreements(checkout)) == ["images/operator/Containerfile names no version"]
