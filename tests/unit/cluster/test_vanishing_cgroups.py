"""Cgroups vanish while a node is taken down: what ends then is not missed, and nothing breaks."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from testcluster import runtime


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b"):
        (tmp_path / name / "container").mkdir(parents=True)
    monkeypatch.setattr(runtime, "pod_cgroups", lambda: [tmp_path])
    return tmp_path


def test_processes_of_all_that_is_there_are_found(pods: Path) -> None:
    (pods / "a/container/cgroup.procs").write_text("7\n9\n")
    (pods / "b/cgroup.procs").write_text("0\n8\n")
    assert runtime._pod_processes() == [7, 8, 9]


def test_a_folder_that_vanishes_while_it_is_looked_at_is_left_out(
    pods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pods / "b/cgroup.procs").write_text("8\n")
    scan: Callable[[str], object] = os.scandir

    def vanishing(path: str) -> object:
        if str(path) == str(pods / "a"):
            raise FileNotFoundError(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert runtime._pod_processes() == [8]


def test_cgroups_are_removed_from_the_inside(pods: Path) -> None:
    runtime._remove_cgroups(pods)
    assert not pods.exists()
