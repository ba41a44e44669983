"""Tests that need PyTorch, which no other test needs: `make test-gpu`; by DEVICE=cpu without a GPU."""

import os

import pytest
import torch

from disagg_worker.engine import stage
from disagg_worker.model.torch_kernels import TorchKernels

DEVICE = os.environ.get("DISAGG_TEST_DEVICE", "cuda")
"""In PyTorch's words; its own CPU device runs the same kernels, those in Triton by its interpreter."""
os.environ.setdefault("TRITON_INTERPRET", "01"[DEVICE == "cpu"])


def pytest_report_header() -> str:
    where = torch.cuda.get_device_name() if DEVICE.startswith("cuda") else "the CPU"
    return f"PyTorch {torch.__version__} on {where}"


@pytest.fixture
def kernels() -> TorchKernels:
    return TorchKernels(DEVICE)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that are made in this test compute on the device."""
    monkeypatch.setattr(stage, "open_kernels", lambda _: TorchKernels(DEVICE))
