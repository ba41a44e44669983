"""What a worker finds in its pod before its engine starts. Device files and limits are simulated."""

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.plan.programs import check_worker
from disagg_operator.plan.programs.check_worker import LONGEST, main, message, result


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /dev."""
    folder = tmp_path / "dev"
    folder.mkdir()
    monkeypatch.setattr(check_worker, "DEVICES", folder)
    monkeypatch.setattr(check_worker, "MESSAGE", folder / "termination-log")
    return folder


def devices(dev: Path, *names: str) -> None:
    for name in names:
        path = dev / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def told(dev: Path) -> dict[str, Mapping[str, Any]]:
    found = json.loads((dev / "termination-log").read_text())["preflight"]
    return {each["check"]: each for each in found}


def test_devices_as_asked_are_fine(dev: Path) -> None:
    devices(dev, *(f"infiniband/uverbs{number}" for number in range(4)), "infiniband/rdma_cm")
    assert result("fabricDevices", 4) == {"check": "fabricDevices", "ok": True, "says": "4 devices"}


@pytest.mark.parametrize(
    ("check", "asked", "says"),
    [
        ("fabricDevices", 4, "0 of 4 fabric devices"),
        ("gpus", 8, "0 of 8 GPUs"),
        ("imexChannel", True, "kubectl describe computedomain"),
        ("sharedMemory", 1 << 30, "No such file"),
        ("efaSdk", "/nowhere", "install the EFA software on the node"),
        ("nixlPlugin", "/nowhere/libplugin_UCX.so", "NIXL_PLUGIN_DIR names that folder"),
    ],
)
@pytest.mark.usefixtures("dev")
def test_what_is_missing_is_told_with_a_remedy(check: str, asked: Any, says: str) -> None:
    found = result(check, asked)
    assert found["ok"] is False
    assert says in found["says"]


def test_gpus_are_counted_by_their_device_files_where_nvml_is_not(
    dev: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_worker, "_nvml_gpus", lambda: None)
    devices(dev, "nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")
    assert result("gpus", 2)["ok"] is True
    assert result("gpus", 3)["ok"] is False


def test_an_imex_channel_is_found(dev: Path) -> None:
    devices(dev, "nvidia-caps-imex-channels/channel0")
    assert result("imexChannel", True)["says"] == "channel0"


@pytest.mark.parametrize(
    ("unlimited", "may", "ok"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_memory_is_pinned_without_limit_or_by_capability(
    monkeypatch: pytest.MonkeyPatch, unlimited: bool, may: bool, ok: bool
) -> None:
    limit = resource.RLIM_INFINITY if unlimited else 8 << 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(check_worker, "_may", lambda _: may)
    found = result("lockedMemory", True)
    assert found["ok"] is ok
    assert ok or "IPC_LOCK" in found["says"]


def test_shared_memory_is_compared_in_bytes(dev: Path) -> None:
    (dev / "shm").mkdir()
    size = os.statvfs(dev / "shm")
    there = size.f_frsize * size.f_blocks
    assert result("sharedMemory", there)["ok"] is True
    assert result("sharedMemory", there + 1)["ok"] is False


@pytest.mark.parametrize(
    ("version", "ok"), [("2.5.1", True), ("2.6", True), ("2.5", True), ("2.4.9", False), ("1.22", False)]
)
def test_libfabric_is_held_against_the_least(monkeypatch: pytest.MonkeyPatch, version: str, ok: bool) -> None:
    monkeypatch.setattr(check_worker, "_libfabric_version", lambda: (version, "fi_info"))
    assert result("libfabric", "2.5.1")["ok"] is ok


def test_what_cannot_be_told_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[str, str]:
        raise ValueError("a bug")

    monkeypatch.setattr(check_worker, "_libfabric_version", broken)
    assert result("libfabric", "2.5.1") == {"check": "libfabric", "ok": None, "says": "ValueError: a bug"}
    assert result("tomorrow", 1)["ok"] is None


def test_a_plugin_that_is_no_library_is_unclear(tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "libplugin_UCX.so"
    devices(plugin.parent, plugin.name)
    assert result("nixlPlugin", str(plugin))["ok"] is None


def test_every_check_is_made_and_a_wrong_one_ends_the_program(
    dev: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devices(dev, "infiniband/uverbs0")
    with pytest.raises(SystemExit) as end:
        main(json.dumps({"imexChannel": True, "fabricDevices": 1}))
    assert end.value.code == 1
    assert {name: each["ok"] for name, each in told(dev).items()} == {
        "imexChannel": False,
        "fabricDevices": True,
    }
    assert "imexChannel: WRONG: There is no IMEX channel" in capsys.readouterr().out


def test_a_pod_as_asked_goes_on(dev: Path) -> None:
    devices(dev, "infiniband/uverbs0")
    main(json.dumps({"fabricDevices": 1}))
    assert told(dev)["fabricDevices"]["says"] == "1 devices"


def test_the_message_fits_what_a_kubelet_keeps() -> None:
    results = [{"check": str(number), "ok": False, "says": "é" * 3000} for number in range(8)]
    text = message(results)
    assert len(text.encode()) <= LONGEST
    assert [each["check"] for each in json.loads(text)["preflight"]] == [str(number) for number in range(8)]
