"""Where arrays are: in host memory or on a GPU, and at which address."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE_BYTES = 4096
_CUDA = 2
"""DLPack's number of CUDA memory (its `kDLCUDA`)."""


@dataclass(frozen=True)
class Region:
    """A contiguous piece of memory.

    Attributes:
        address: Where it begins.
        nbytes: Its length.
        gpu: The number of the GPU whose memory it is, as this process counts them; None for host memory.
    """

    address: int
    nbytes: int
    gpu: int | None = None


def region_of(array: Any) -> Region:
    """Tell where a C-contiguous array is; a NumPy array, or a PyTorch tensor in host or CUDA memory."""
    kind, number = array.__dlpack_device__()
    address = array.ctypes.data if isinstance(array, np.ndarray) else array.data_ptr()
    return Region(address, int(array.nbytes), int(number) if kind == _CUDA else None)


def page_aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Allocate zeros that start on a page: registration with a network card works in pages."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    raw = np.zeros(size + PAGE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % PAGE_BYTES
    return raw[start : start + size].view(np.float32).reshape(shape)
