"""From the name of a device to the kernels that compute on it."""

from disagg_worker.errors import ConfigError
from disagg_worker.model.kernels import CpuKernels, Kernels


def open_kernels(device: str) -> Kernels:
    """Return the kernels of a device.

    Args:
        device: "cpu", "cuda" (the first GPU) or "cuda:N".

    Raises:
        ConfigError: PyTorch or that GPU is missing here.
    """
    if device == "cpu":
        return CpuKernels()
    try:
        from disagg_worker.model.torch_kernels import TorchKernels  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise ConfigError(
            f"compute.device: {device} needs PyTorch, which this installation lacks ({error}); "
            "install disagg-worker[cuda], or write cpu"
        ) from None
    return TorchKernels(device)
