"""Copying rows between a region and staging memory, on a CPU with NumPy and on a GPU with PyTorch.

Both do the same with their library's index operations: rows of one length are taken from, or put to, places
that an index names. On a GPU the copies of one mover run one after the other on a stream of their own, beside
whatever else the GPU does, and a `Ticket` tells when one is over.
"""

from typing import Any, Protocol

import numpy as np

from disagg_worker.kv.planner import Offsets, Plan
from disagg_worker.memory import page_aligned

WINDOW_ROWS = 1 << 21
"""Rows of an index that are kept at once: 16 MiB."""


class Copied(Protocol):
    """A copy that was begun."""

    def __call__(self) -> bool:
        """Whether it is over; not to be asked again after that."""


class Mover(Protocol):
    """Copies rows in the memory of one device; all but `allocate` is called by one thread alone."""

    def allocate(self, nbytes: int) -> Any:
        """Allocate memory that can be registered with NIXL; an array of bytes of the library."""

    def index(self, plan: Plan, *, of_source: bool) -> "Index":
        """Make the index of a plan's rows on this side."""

    def gather(self, region: Any, index: "Index", first: int, rows: int, staging: Any) -> Copied:
        """Begin to copy the plan's rows from `first` on into the beginning of `staging`."""

    def scatter(self, region: Any, index: "Index", first: int, rows: int, staging: Any) -> Copied:
        """Begin to copy the beginning of `staging` to the places of the plan's rows from `first` on."""


class Index:
    """Where each row of a plan is in one side's region, counted in rows, computed a window at a time.

    Args:
        plan: What is copied.
        units: Places of the units on this side, in rows; an array of the device's library, like the next two.
        lanes: Places of the lanes.
        parts: Places of a segment's rows after its first, in rows: 0, 1, 2 and so on.

    Attributes:
        row_bytes: Size of a row.
    """

    def __init__(self, plan: Plan, units: Any, lanes: Any, parts: Any) -> None:
        self.row_bytes = plan.lanes.row_bytes
        self._units, self._lanes, self._parts = units, lanes, parts
        self._of_lane = len(units) * len(parts)
        self._first = self._end = 0
        self._window: Any = None

    def rows(self, first: int, count: int) -> Any:
        """Return the places of some rows, asked for in ascending order."""
        if first < self._first or first + count > self._end:
            self._compute(first, count)
        return self._window[first - self._first : first - self._first + count]

    def _compute(self, first: int, count: int) -> None:
        begin = first // self._of_lane
        end = min(len(self._lanes), begin + -(-max(count, WINDOW_ROWS) // self._of_lane) + 1)
        places = self._lanes[begin:end, None] + self._units
        if len(self._parts) > 1:
            places = places[:, :, None] + self._parts
        self._window = places.reshape(-1)
        self._first, self._end = begin * self._of_lane, end * self._of_lane


def side(plan: Plan, *, of_source: bool) -> tuple[Offsets, Offsets]:
    """Places of a plan's units and lanes on one side, in rows."""
    lanes = plan.lanes
    if of_source:
        return plan.unit_source // lanes.row_bytes, lanes.source // lanes.row_bytes
    return plan.unit_target // lanes.row_bytes, lanes.target // lanes.row_bytes


def _done() -> bool:
    return True


class NumpyMover:
    """Copies in host memory; a copy is over when it was begun."""

    def allocate(self, nbytes: int) -> Any:
        """See Mover."""
        return page_aligned((-(-nbytes // 4),)).view(np.uint8)[:nbytes]

    def index(self, plan: Plan, *, of_source: bool) -> Index:
        """See Mover."""
        units, lanes = side(plan, of_source=of_source)
        return Index(plan, units, lanes, np.arange(plan.lanes.length // plan.lanes.row_bytes))

    def gather(self, region: Any, index: Index, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        size = index.row_bytes
        places = index.rows(first, rows)
        # The index is within bounds by its making; "clip" spares NumPy a second buffer.
        np.take(_records(region, size), places, out=_records(staging, size)[:rows], mode="clip")
        return _done

    def scatter(self, region: Any, index: Index, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        size = index.row_bytes
        _records(region, size)[index.rows(first, rows)] = _records(staging, size)[:rows]
        return _done


def _records(array: Any, size: int) -> Any:
    """View memory as records of so many bytes, without the rest that fills none."""
    flat = array.reshape(-1).view(np.uint8)
    return flat[: len(flat) // size * size].view(np.dtype((np.void, size)))
