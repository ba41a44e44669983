"""NVLink through a simulated NVML: a real shared library with the layouts of nvml.h, but no GPU behind it."""

import subprocess
from pathlib import Path

import pytest

from disagg_worker.agent.evidence import Link
from disagg_worker.agent.nvlink import read_nvlink

SOURCE = Path(__file__).with_name("simulated_nvml.cpp")


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> str:
    library = tmp_path_factory.mktemp("nvml") / "libsimulated-nvml.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return str(library)


def test_active_links_are_read_in_bytes_whichever_counter_a_gpu_has(nvml: str) -> None:
    for _ in range(2):  # it is started and shut down each time
        read = read_nvlink(nvml)
        assert read.available
        assert read.links == (
            Link(gpu=0, link=0, rx_bytes=1024 << 40, tx_bytes=5 * 1024),
            Link(gpu=1, link=0, rx_bytes=88, tx_bytes=77),
        )


def test_without_the_library_the_reason_names_it() -> None:
    read = read_nvlink("libnvidia-ml-absent.so.1")
    assert not read.available
    assert read.reason.startswith("no libnvidia-ml-absent.so.1: ")


def test_without_a_driver_nvml_s_own_words_are_the_reason(nvml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATED_NVML_FAILS", "1")
    assert read_nvlink(nvml).reason == "nvmlInit_v2: Driver Not Loaded"


def test_a_library_that_is_not_nvml_is_told() -> None:
    read = read_nvlink("libc.so.6")
    assert not read.available
    assert "nvmlInit_v2" in read.reason
