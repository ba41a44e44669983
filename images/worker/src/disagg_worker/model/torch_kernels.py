"""The kernels on PyTorch: for CUDA GPUs, and on PyTorch's own CPU device for tests.

Numerics: float32 throughout; TF32, which keeps 10 bits of a factor's mantissa, is off. cuBLAS chooses its
algorithm by the shapes of a product, and a row's result depends on the algorithm, not on its neighbours.
`linear_rows` therefore multiplies groups of always as many rows, filled up with zeros: a sequence's numbers
do not depend on how many others are in the batch, bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch
from numpy.typing import NDArray

from disagg_worker.errors import ConfigError
from disagg_worker.model.kernels import Kernels, Work
from disagg_worker.model.segment import Segment
from disagg_worker.model.spec import Array

GROUP_ROWS = 8
"""Rows of one product of `linear_rows`; weights are read once for each group."""
TABLE_COLUMNS = 256
"""Tables of blocks are as wide as a multiple of this, so that there are few shapes of work."""
MIB = 1 << 20


@dataclass(frozen=True)
class Reach:
    """What one position of each of several sequences attends to.

    Attributes:
        table: int32 `[sequences, blocks]`, the blocks of each sequence.
        lengths: int32 `[sequences]`, how many positions of them count.
    """

    table: Array
    lengths: Array


class _Recorded:
    """The launches of a step, to be repeated with other numbers.

    Args:
        step: What is recorded; its Python code runs this once alone.
        work: Numbers of the shape that it is recorded for.
    """

    def __init__(self, step: Callable[[Work], Array], work: Work) -> None:
        self._work = replace(
            work,
            tokens=work.tokens.clone(),
            positions=work.positions.clone(),
            slots=work.slots.clone(),
            reach=Reach(work.reach.table.clone(), work.reach.lengths.clone()),
            hidden=None if work.hidden is None else work.hidden.clone(),
        )
        self._graph = torch.cuda.CUDAGraph()
        # Other threads (NIXL's) may use CUDA meanwhile.
        with (
            torch.cuda.device(work.tokens.device),
            torch.cuda.graph(self._graph, capture_error_mode="thread_local"),
        ):
            self._result = step(self._work)

    def replay(self, work: Work) -> Array:
        """Repeat the step with these numbers; the result is overwritten by the next replay."""
        for place, array in zip(_arrays(self._work), _arrays(work), strict=True):
            place.copy_(array)
        self._graph.replay()
        return self._result


def _arrays(work: Work) -> list[Array]:
    held = (work.tokens, work.positions, work.slots, work.reach.table, work.reach.lengths, work.hidden)
    return [array for array in held if array is not None]


class TorchKernels(Kernels):
    """The same operations on PyTorch tensors, in few launches: each costs a GPU's host some microseconds.

    Args:
        device: A device in PyTorch's words, such as "cuda:1".

    Raises:
        ConfigError: There is no such GPU.

    Attributes:
        paged: Whether `paged_attention` is used.
    """

    # A launch costs more than what a smaller tile of attention would save.
    query_tile = 1024

    def __init__(self, device: str) -> None:
        super().__init__(xp, _usable(device))
        torch.set_float32_matmul_precision("highest")
        self.paged = self.device.type == "cuda"
        self._recorded: dict[tuple[tuple[int, ...], ...], _Recorded] = {}

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
        """Copy from the device.

        Waits for the numbers first: CUDA lets no other thread copy while a copy waits for what it copies, and
        KV cache would be read and summed from one step to the next only.
        """
        self.finish()
        numbers: NDArray[Any] = array.cpu().numpy()
        return numbers

    def finish(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def filled(self, count: int) -> list[int]:
        """Fill groups of rows, so that there are few shapes of work; the first sequence is computed again."""
        return [*range(count), *([0] * (-count % GROUP_ROWS) if self.paged else [])]

    def repeat(self, step: Callable[[Work], Array], work: Work) -> Array:
        """Replay the launches that were recorded for work of this shape, as one CUDA graph."""
        if self.device.type != "cuda" or not isinstance(work.reach, Reach):
            return step(work)
        key = tuple(tuple(array.shape) for array in _arrays(work))
        if key not in self._recorded:
            step(work)  # compiles kernels, and has libraries allocate what they need
            self._recorded[key] = _Recorded(step, work)
        return self._recorded[key].replay(work)

    def linear_rows(self, x: Array, weight: Array) -> Array:
        """Multiply in groups of `GROUP_ROWS`."""
        rows = x.shape[0]
        padded = torch.nn.functional.pad(x, (0, 0, 0, -rows % GROUP_ROWS)) if rows % GROUP_ROWS else x
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

    def reach(self, pool: Array, segments: Sequence[Segment]) -> Any:
        """For one position of each sequence, prepare what the paged kernel reads."""
        head_dim = pool.shape[5]
        if not self.paged or any(len(each.tokens) > 1 for each in segments) or head_dim & (head_dim - 1):
            return super().reach(pool, segments)
        used = [each.used(pool.shape[4]) for each in segments]
        columns = -(-max(map(len, used)) // TABLE_COLUMNS) * TABLE_COLUMNS
        table = np.zeros((len(used), columns), dtype=np.int32)
        for row, blocks in zip(table, used, strict=True):
            row[: len(blocks)] = blocks
        lengths = np.asarray([each.end for each in segments], dtype=np.int32)
        return Reach(self.array(table), self.array(lengths))

    def attend_paged(self, pool: Array, layer: int, reach: Any, query: Array) -> Array:
        """Attend in one launch where one position of each sequence is computed."""
        if not isinstance(reach, Reach):
            return super().attend_paged(pool, layer, reach, query)
        from disagg_worker.model.paged_attention import attend  # noqa: PLC0415 - Triton is of use on GPUs alone

        return attend(query, pool, layer, reach.table, reach.lengths)

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
