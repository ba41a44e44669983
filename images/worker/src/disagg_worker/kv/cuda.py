"""Copying rows in the memory of a GPU with a Triton kernel; imported only where there is one.

The kernel computes where a row is from units and lanes, so there is no index to make. Copies in the middle of
a transfer run on few programs: at the pace of the link they leave the GPU's memory to the wire and to the
engine, while small ones, for which the wire may wait, take all they can.
"""

import threading
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from disagg_worker.kv.mover import Copied, side
from disagg_worker.kv.planner import Lanes, Offsets, Plan

_ITEMS = ((8, torch.int64), (4, torch.int32), (2, torch.int16), (1, torch.uint8))
ALIGNMENT = 16
"""Of all memory in bytes, which the compiler is told of: it copies so many at once."""
TILE = 512
GENTLE_PROGRAMS = 160
"""Of `TILE` items of 8 bytes: about 600 GB/s on an H100, half as much again as its link."""
GENTLE_BYTES = 48 << 20
"""Copies of more than this are gentle. At full speed they hold the copy engine up: 128k tokens of
Llama-3.3-70B moved at 353 GB/s instead of 385."""
KEPT_LAYOUTS = 64
"""Pairs of layouts whose lanes stay on the GPU; other processes say what theirs are."""


# Triton reads annotations of parameters as types of its own.
@triton.jit(do_not_specialize=["units", "parts", "first", "rows"])  # type: ignore[untyped-decorator]
def _copy(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917
    region,  # noqa: ANN001
    staging,  # noqa: ANN001
    unit,  # noqa: ANN001
    lane,  # noqa: ANN001
    units,  # noqa: ANN001
    parts,  # noqa: ANN001
    first,  # noqa: ANN001
    rows,  # noqa: ANN001
    row_items: tl.constexpr,
    tile: tl.constexpr,
    gather: tl.constexpr,
):
    """Copy rows: `lane`, `unit` and the part of a segment tell where each is in the region, in rows."""
    tiles: tl.constexpr = (row_items + tile - 1) // tile
    at = tl.program_id(0)
    while at < rows * tiles:
        row = at // tiles
        inner = (at % tiles) * tile + tl.arange(0, tile)
        number = first + row
        segment = number // parts
        place = tl.load(lane + segment // units) + tl.load(unit + segment % units) + number % parts
        here = region + place * row_items + inner
        there = staging + row.to(tl.int64) * row_items + inner
        inside = inner < row_items
        if gather:
            tl.store(there, tl.load(here, mask=inside), mask=inside)
        else:
            tl.store(here, tl.load(there, mask=inside), mask=inside)
        at += tl.num_programs(0)


class Places:
    """Where each row of a plan is in one side's region.

    Args:
        plan: What is copied.
        units: Places of the units, in rows, on the GPU.
        lanes: The same of the lanes.
    """

    def __init__(self, plan: Plan, units: Any, lanes: Any) -> None:
        self.row_bytes, self._kept = plan.lanes.row_bytes, (units, lanes)
        self.units, self.lanes = units.data_ptr(), lanes.data_ptr()
        self.parts, self.count = plan.lanes.length // plan.lanes.row_bytes, len(units)


class _Kernel(NamedTuple):
    """The kernel compiled for rows of one size, in one direction.

    Attributes:
        launch: Compiled; called for a grid and then with its arguments, it skips what Triton finds out anew
            at each call, which takes longer than small copies do.
        tiles: Of a row.
        tile: Items of each.
        constants: Arguments that it was compiled for.
    """

    launch: Any
    tiles: int
    tile: int
    constants: tuple[int, int, bool]


class CudaMover:
    """Copies in the memory of one GPU, on a stream of its own, which becomes the calling thread's.

    Args:
        gpu: The GPU's number.
    """

    def __init__(self, gpu: int) -> None:
        self._device = torch.device("cuda", gpu)
        self._stream = torch.cuda.Stream(self._device)
        self._thread = 0
        self._events: list[Any] = []
        self._kernels: dict[tuple[int, bool], _Kernel] = {}
        self._lanes: dict[tuple[int, bool], tuple[Lanes, Any]] = {}

    def allocate(self, nbytes: int) -> Any:
        """See Mover."""
        return torch.zeros(nbytes, dtype=torch.uint8, device=self._device)

    def places(self, plan: Plan, *, of_source: bool) -> Places:
        """See Mover."""
        self._enter()
        units, lanes = side(plan, of_source=of_source)
        key = (id(plan.lanes), of_source)
        kept = self._lanes.get(key)
        if kept is None or kept[0] is not plan.lanes:
            kept = self._lanes[key] = (plan.lanes, self._put(lanes))
            if len(self._lanes) > 2 * KEPT_LAYOUTS:
                self._lanes.pop(next(iter(self._lanes)))
        return Places(plan, self._put(units), kept[1])

    def gather(self, region: Any, places: Places, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        return self._copy(region, places, first, rows, staging, gather=True)

    def scatter(self, region: Any, places: Places, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        return self._copy(region, places, first, rows, staging, gather=False)

    def _copy(
        self, region: Any, places: Places, first: int, rows: int, staging: Any, *, gather: bool
    ) -> Copied:
        self._enter()
        row_bytes = places.row_bytes
        kernel = self._kernels.get((row_bytes, gather)) or self._compile(row_bytes, gather=gather)
        programs = rows * kernel.tiles
        if rows * row_bytes > GENTLE_BYTES:
            programs = min(programs, GENTLE_PROGRAMS * TILE // kernel.tile)
        kernel.launch[programs, 1, 1](
            _address(region), _address(staging), places.units, places.lanes, places.count, places.parts,
            first, rows, *kernel.constants, stream=self._stream.cuda_stream,
        )  # fmt: skip
        event = self._events.pop() if self._events else torch.cuda.Event()
        event.record(self._stream)

        def over() -> bool:
            if event.query():
                self._events.append(event)
                return True
            return False

        return over

    def _compile(self, row_bytes: int, *, gather: bool) -> _Kernel:
        item, kind = next((size, kind) for size, kind in _ITEMS if row_bytes % size == 0)
        row = row_bytes // item
        tile = min(TILE, triton.next_power_of_2(row))
        compiled = _copy.warmup(
            kind, kind, torch.int64, torch.int64, 0, 0, 0, 0,
            row_items=row, tile=tile, gather=gather, num_warps=max(1, tile // 64), grid=(1,),
        )  # fmt: skip
        kernel = _Kernel(compiled, -(-row // tile), tile, (row, tile, gather))
        self._kernels[row_bytes, gather] = kernel
        return kernel

    def _put(self, numbers: Offsets) -> Any:
        return torch.from_numpy(numbers).to(self._device, non_blocking=True)

    def _enter(self) -> None:
        thread = threading.get_ident()
        if thread != self._thread:
            torch.cuda.set_stream(self._stream)
            self._thread = thread


def _address(memory: Any) -> int:
    """Where memory begins.

    Raises:
        ValueError: The kernel cannot copy from there.
    """
    address: int = memory.data_ptr()
    if address % ALIGNMENT:
        raise ValueError(f"memory of a GPU begins at {address:#x}, which is no multiple of {ALIGNMENT} bytes")
    return address
