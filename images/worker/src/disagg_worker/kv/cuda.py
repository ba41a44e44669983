"""Copying rows in the memory of a GPU with PyTorch's index operations; imported only where there is one.

A call of PyTorch costs 3 to 20 us, and the link moves 4 MiB in 10 us, so what can be kept from piece to piece
is: views of memory as rows, events, and the stream, which the calling thread enters once and stays in.
"""

import threading
from typing import Any

import torch

from disagg_worker.kv.mover import Copied, Index, side
from disagg_worker.kv.planner import Lanes, Offsets, Plan

_ITEMS = ((8, torch.int64), (4, torch.int32), (2, torch.int16), (1, torch.uint8))


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
        self._lanes: dict[tuple[int, bool], tuple[Lanes, Any, Any]] = {}

    def allocate(self, nbytes: int) -> Any:
        """See Mover."""
        return torch.zeros(nbytes, dtype=torch.uint8, device=self._device)

    def index(self, plan: Plan, *, of_source: bool) -> Index:
        """See Mover."""
        self._enter()
        units, lanes = side(plan, of_source=of_source)
        key = (id(plan.lanes), of_source)
        kept = self._lanes.get(key)
        if kept is None or kept[0] is not plan.lanes:
            parts = torch.arange(plan.lanes.length // plan.lanes.row_bytes, device=self._device)
            kept = self._lanes[key] = (plan.lanes, self._put(lanes), parts)
        return Index(plan, self._put(units), kept[1], kept[2])

    def gather(self, region: Any, index: Index, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        self._enter()
        size = index.row_bytes
        into = self._rows(staging, size)[:rows]
        torch.index_select(self._rows(region, size), 0, index.rows(first, rows), out=into)
        return self._mark()

    def scatter(self, region: Any, index: Index, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        self._enter()
        size = index.row_bytes
        self._rows(region, size).index_copy_(0, index.rows(first, rows), self._rows(staging, size)[:rows])
        return self._mark()

    def _mark(self) -> Copied:
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

    def _rows(self, memory: Any, size: int) -> Any:
        """View memory as rows of so many bytes, without the rest that fills none."""
        key = (memory.data_ptr(), memory.nbytes, size)
        view = self._views.get(key)
        if view is None:
            item, dtype = next((item, dtype) for item, dtype in _ITEMS if size % item == 0)
            flat = memory.view(-1).view(torch.uint8)
            whole = flat[: flat.numel() // size * size]
            view = self._views[key] = whole.view(dtype).view(-1, size // item)
        return view
