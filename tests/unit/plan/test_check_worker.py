"""What a worker finds in its pod before its engine starts. Device files and limits are simulated."""

import json
import os
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from disagg_operator.plan.programs import check_worker
from disagg_operator.plan.programs.check_worker import LONGEST, main, message, result


class Pinning(Protocol):
    """What a process may pin, as a kernel tells it."""

    def __call__(self, limit: int, *, user: int, bounding: bool, effective: bool) -> None:
        """Have it told."""


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /dev."""
    folder = tmp_path / "dev"
    folder.mkdir()
    monkeypatch.setattr(check_worker, "DEVICES", folder)
    monkeypatch.setattr(check_worker, "MESSAGE", folder / "termination-log")
    monkeypatch.setattr(check_worker, "ADAPTERS", tmp_path / "adapters")
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
        ("fabricDevices", 4, "this node shows no RDMA adapter"),
        ("rdmaDevice", True, "write a platform without RDMA, such as generic"),
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


@pytest.fixture
def pinning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pinning:
    """Sets how much memory a process may lock, who runs it, and which of its sets hold IPC_LOCK."""

    def told(limit: int, *, user: int, bounding: bool, effective: bool) -> None:
        sets = {"CapBnd": bounding, "CapEff": effective}
        lines = [f"{name}:\t{(1 << check_worker.IPC_LOCK) * has:016x}\n" for name, has in sets.items()]
        (tmp_path / "status").write_text("Name:\tpython3\n" + "".join(lines))
        monkeypatch.setattr(check_worker, "STATUS", tmp_path / "status")
        monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
        monkeypatch.setattr(os, "geteuid", lambda: user)

    return told


@pytest.mark.parametrize(
    ("unlimited", "may", "ok"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_memory_is_pinned_without_limit_or_by_capability(
    pinning: Pinning, unlimited: bool, may: bool, ok: bool
) -> None:
    limit = resource.RLIM_INFINITY if unlimited else 8 << 20
    pinning(limit, user=0, bounding=may, effective=may)
    found = result("lockedMemory", True)
    assert found["ok"] is ok
    assert ok or "IPC_LOCK" in found["says"]


@pytest.mark.parametrize(
    ("user", "bounding", "limit", "texts"),
    [
        (
            65532,
            True,
            8 << 20,
            (
                "Only 8 MiB of memory can be pinned, and the fabric pins KV cache. The container has the "
                "capability IPC_LOCK, but runs as user 65532, for whom it has no effect: let it run as "
                "user 0 (podTemplate of the role: spec.securityContext.runAsUser: 0), or raise the node's "
                "limit (LimitMEMLOCK=infinity of containerd).",
                "security.mode",
            ),
        ),
        (1000, False, 64 << 10, ("Only 64 KiB of memory", "has the capability")),
        (1000, False, 8 << 20, ("security.mode: IpcLock or Privileged), and user 0", "has the capability")),
        (0, False, 8 << 20, ("(security.mode: IpcLock or Privileged), or raise", "runAsUser")),
    ],
)
def test_a_capability_without_effect_is_told_from_one_that_is_not_there(
    pinning: Pinning, user: int, bounding: bool, limit: int, texts: tuple[str, str]
) -> None:
    said, not_said = texts
    pinning(limit, user=user, bounding=bounding, effective=False)
    found = result("lockedMemory", True)
    assert found["ok"] is False
    assert said in found["says"]
    assert not_said not in found["says"]


def test_the_sets_of_capabilities_are_read_as_the_kernel_writes_them() -> None:
    written = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in written.splitlines() if line.startswith("CapEff"))
    assert check_worker._has(check_worker.IPC_LOCK, "CapEff") is bool(int(effective, 16) >> 14 & 1)


def test_an_adapter_of_the_node_that_the_pod_was_not_given_is_named(dev: Path) -> None:
    (dev.parent / "adapters" / "mlx5_0").mkdir(parents=True)
    assert "this node shows mlx5_0" in result("rdmaDevice", True)["says"]
    devices(dev, "infiniband/uverbs0")
    assert result("rdmaDevice", True)["ok"] is True


def test_without_an_rdma_device_that_alone_is_the_cause(dev: Path) -> None:
    with pytest.raises(SystemExit):
        main(json.dumps({"rdmaDevice": True, "nixlBackend": "UCX"}))
    found = told(dev)
    assert found["rdmaDevice"]["ok"] is False
    assert found["nixlBackend"] == {
        "check": "nixlBackend",
        "ok": None,
        "says": "not tried, as rdmaDevice is wrong",
    }


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("UCX_TLS", "gga", "no usable transports/devices"),
        ("UCX_TLS", "self,sm", "no active messages transport"),
        ("UCX_NET_DEVICES", "nowhere0", "no active messages transport"),
    ],
)
def test_the_variable_that_leaves_ucx_no_way_to_other_pods_is_named_first(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """With NIXL itself: this machine has no RDMA device, or UCX would refuse one of these names as well."""
    monkeypatch.setenv(name, value)
    found = result("nixlBackend", "UCX")
    assert found["ok"] is False
    assert found["says"].startswith(f"{name}={value} (spec.env or spec.<role>.env")
    assert says in found["says"]
    assert "Plugins must be built" not in found["says"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            "[1795758882.685609] [pod:19   :0] select.c:722  UCX  ERROR no active messages transport to x",
            True,
        ),
        ("UCX: backend creation failed for 'UCX'", True),
        ("E1127 06:01:57.847711 27214 nixl_plugin_manager.cpp:58] Failed to load plugin UCX", False),
    ],
)
def test_a_plugin_that_does_not_fit_is_not_laid_to_a_variable(
    monkeypatch: pytest.MonkeyPatch, line: str, named: bool
) -> None:
    """What NIXL prints is simulated."""

    def run(*command: str, **_: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", f"{line}\n")

    monkeypatch.setattr(check_worker, "_run", run)
    monkeypatch.setenv("UCX_TLS", "rc,cuda")
    says = result("nixlBackend", "UCX")["says"]
    assert says.startswith("UCX_TLS=rc,cuda") is named
    assert ("Plugins must be built" in says) is not named
    assert "select.c" not in says
    assert "nixl_plugin_manager" not in says


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
