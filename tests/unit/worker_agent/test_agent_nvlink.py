"""NVLink through a simulated NVML: a real shared library with the layouts of nvml.h, but no GPU behind it."""

import subprocess
from pathlib import Path

import pytest

from disagg_worker.agent import nvlink
from disagg_worker.agent.evidence import Link
from disagg_worker.agent.nvlink import read_nvlink

SOURCE = Path(__file__).with_name("simulated_nvml.cpp")


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> str:
    library = tmp_path_factory.mktemp("nvml") / "libsimulated-nvml.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return str(library)


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """The driver's control device, as far as a test can have it."""
    device = tmp_path / "nvidiactl"
    device.touch()
    return device


def test_active_links_are_read_in_bytes_whichever_counter_a_gpu_has(nvml: str, control: Path) -> None:
    read = read_nvlink(nvml, control)
    assert read.available
    assert read.links == (
        Link(gpu=0, link=0, rx_bytes=1024 << 40, tx_bytes=5 * 1024),
        Link(gpu=1, link=0, rx_bytes=88, tx_bytes=77),
    )


def test_nothing_is_started_without_a_gpu(nvml: str, tmp_path: Path) -> None:
    read = read_nvlink(nvml, tmp_path / "nvidiactl")
    assert not read.available
    assert read.reason.startswith("this container was given no GPU")


def test_without_the_library_the_reason_names_it(control: Path) -> None:
    read = read_nvlink("libnvidia-ml-absent.so.1", control)
    assert not read.available
    assert read.reason.startswith("libnvidia-ml-absent.so.1: ")


def test_without_a_driver_nvml_s_own_words_are_the_reason(
    nvml: str, control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_NVML", "fails")
    assert read_nvlink(nvml, control).reason == "nvmlInit_v2: Driver Not Loaded"


def test_an_nvml_that_crashes_or_hangs_costs_the_agent_nothing(
    nvml: str, control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_NVML", "crashes")
    assert read_nvlink(nvml, control).reason == "NVML ended its process (-6)"
    monkeypatch.setenv("SIMULATED_NVML", "hangs")
    monkeypatch.setattr(nvlink, "TIMEOUT_SECONDS", 2.0)
    assert read_nvlink(nvml, control).reason == "NVML did not answer within 2 s"


def test_a_library_that_is_not_nvml_is_told(control: Path) -> None:
    read = read_nvlink("libc.so.6", control)
    assert not read.available
    assert "nvmlInit_v2" in read.reason
