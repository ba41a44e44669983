"""Copying rows in the memory of a GPU with a Triton kernel; imported only where there is one.

The kernel computes where a row is from units and lanes, so there is no index to make. Copies in the middle of
a transfer run on few programs: at the pace of the link they leave the GPU's memory to the wire and to the
engine, while small ones, for which the wire may wait, take all they can.
"""

import threading
from typing import Any

import torch
import triton
import triton.language as tl

from disagg_worker.kv.mover import Copied, side
from disagg_worker.kv.planner import Lanes, Offsets, Plan

_ITEMS = ((8, torch.int64), (4, torch.int32), (2, torch.int16), (1, torch.uint8))
TILE = 512
GENTLE_PROGRAMS = 160
"""Of `TILE` items of 8 bytes: about 600 GB/s on an H100, half as much again as its link."""
GENTLE_BYTES = 48 << 20
"""Copies of more than this are gentle. At full speed they hold the copy engine up: 128k tokens of
Llama-3.3-70B moved at 353 GB/s instead of 385."""


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
        self.row_bytes, self.units, self.lanes = plan.lanes.row_bytes, units, lanes
        self.parts, self.count = plan.lanes.length // plan.lanes.row_bytes, len(units)
        self.item = next(item for item, _ in _ITEMS if self.row_bytes % item == 0)
        self.row_items = self.row_bytes // self.item
        self.tile = min(TILE, triton.next_power_of_2(self.row_items))


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
        self._views: dict[tuple[int, int, int], Any] = {}
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
        item, row, tile = places.item, places.row_items, places.tile
        programs = rows * -(-row // tile)
        if rows * places.row_bytes > GENTLE_BYTES:
            programs = min(programs, GENTLE_PROGRAMS * TILE // tile)
        _copy[(programs,)](
            self._items(region, item), self._items(staging, item), places.units, places.lanes, places.count,
            places.parts, first, rows, row_items=row, tile=tile, gather=gather, num_warps=max(1, tile // 64),
        )  # fmt: skip
        event = self._events.pop() if self._events else torch.cuda.Event()
        event.record()

        def over() -> bool:
            if event.query():
                self._events.append(event)
                return True
            return False

        return over

    def _put(self, numbers: Offsets) -> Any:
        return torch.from_numpy(numbers).to(self._device, non_blocking=True)

    def _enter(self) -> None:
        thread = threading.get_ident()
        if thread != self._thread:
            torch.cuda.set_stream(self._stream)
            self._thread = thread

    def _items(self, memory: Any, item: int) -> Any:
        """View memory as items of so many bytes, without the rest that fills none."""
        key = (memory.data_ptr(), memory.nbytes, item)
        view = self._views.get(key)
        if view is None:
            flat = memory.view(-1).view(torch.uint8)
            view = flat[: memory.nbytes // item * item].view(dict(_ITEMS)[item])
            self._views[key] = view
        return view
