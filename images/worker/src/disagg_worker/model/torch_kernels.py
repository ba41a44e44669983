"""The kernels on PyTorch: for CUDA GPUs, and on PyTorch's own CPU device for tests.

Numerics: float32 throughout; TF32, which keeps 10 bits of a factor's mantissa, is off. cuBLAS chooses its
algorithm by the shapes of a product, and a row's result depends on the algorithm, not on its neighbours.
`linear_rows` therefore multiplies groups of always as many rows, filled up with zeros: a sequence's numbers
do not depend on how many others are in the batch, bit for bit.
"""

from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch
from numpy.typing import NDArray

from disagg_worker.errors import ConfigError
from disagg_worker.model.kernels import Kernels
from disagg_worker.model.spec import Array

GROUP_ROWS = 8
"""Rows of one product of `linear_rows`; weights are read once for each group."""
MIB = 1 << 20


class TorchKernels(Kernels):
    """The same operations on PyTorch tensors, in few launches: each costs a GPU's host some microseconds.

    Args:
        device: A device in PyTorch's words, such as "cuda:1".

    Raises:
        ConfigError: There is no such GPU.
    """

    # A launch costs more than what a smaller tile of attention would save.
    query_tile = 1024

    def __init__(self, device: str) -> None:
        super().__init__(xp, _usable(device))
        torch.set_float32_matmul_precision("highest")

    def array(self, values: Any) -> Array:
        """Copy to the device; NumPy arrays as they are."""
        try:
            return torch.asarray(values, device=self.device)
        except torch.OutOfMemoryError:
            raise ConfigError(f"compute.device: {self._full()} with the weights alone") from None

    def pool(self, shape: tuple[int, ...]) -> Array:
        """Take the memory from CUDA."""
        try:
            return torch.zeros(shape, dtype=torch.float32, device=self.device)
        except torch.OutOfMemoryError:
            raise ConfigError(f"kv_cache.memory_mib: {self._full()}; write less") from None

    def _full(self) -> str:
        free, total = torch.cuda.mem_get_info(self.device)
        return f"{self.device} is full ({free // MIB} of {total // MIB} MiB are free)"

    def host(self, array: Array) -> NDArray[Any]:
        """Copy from the device."""
        numbers: NDArray[Any] = array.cpu().numpy()
        return numbers

    def finish(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def linear_rows(self, x: Array, weight: Array) -> Array:
        """Multiply in groups of `GROUP_ROWS`."""
        rows = x.shape[0]
        padded = torch.nn.functional.pad(x, (0, 0, 0, -rows % GROUP_ROWS))
        parts = [group @ weight.T for group in torch.split(padded, GROUP_ROWS)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts))[:rows]

    def rms_norm(self, x: Array, weight: Array, eps: float) -> Array:
        """Compute in one launch."""
        return torch.nn.functional.rms_norm(x, (x.shape[1],), weight, eps)

    def swiglu(self, gate_up: Array) -> Array:
        """Compute in two launches; PyTorch's `silu` knows of large exponents."""
        gate, up = gate_up.chunk(2, dim=1)
        return torch.nn.functional.silu(gate) * up

    def softmax(self, scores: Array) -> Array:
        """Compute in one launch."""
        return torch.softmax(scores, dim=-1)

    def slots(self, slots: list[tuple[int, int]]) -> Any:
        """Turn the slots into index tensors."""
        return self.array(np.asarray(slots).T)

    def pages(self, pool: Array, blocks: tuple[int, ...]) -> Any:
        """Number the segments of K and V per head that the first layer has in these blocks."""
        _, layers, _, kv_heads, _, _ = pool.shape
        in_block = np.arange(2 * kv_heads).reshape(2, kv_heads, 1)
        return self.array((np.asarray(blocks) * (layers * 2 * kv_heads) + in_block).reshape(-1))

    def write_kv(self, pool: Array, layer: int, slots: Any, keys_values: Array) -> None:
        """Scatter all positions at once."""
        blocks, offsets = slots
        pool[:, layer][blocks, :, :, offsets] = keys_values

    def read_kv(self, pool: Array, layer: int, pages: Any, tokens: int) -> tuple[Array, Array]:
        """Gather segments of one block and head each."""
        _, _, _, kv_heads, block_tokens, head_dim = pool.shape
        segments = pool.view(-1, block_tokens * head_dim)
        paged = torch.index_select(segments, 0, pages + layer * 2 * kv_heads)
        flat = paged.view(2, kv_heads, -1, head_dim)
        return flat[0, :, :tokens], flat[1, :, :tokens]


def _usable(name: str) -> torch.device:
    device = torch.device(name)
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ConfigError(
            f"compute.device: {name}: PyTorch finds no GPU that it can use here; "
            "give the worker one (and its driver), or write cpu"
        )
    number = device.index or 0
    if number >= count:
        raise ConfigError(f"compute.device: {name}: the GPUs here are cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", number)
