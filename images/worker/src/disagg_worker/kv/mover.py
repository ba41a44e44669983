"""Copying rows between a region and staging memory: on a CPU with NumPy here, on a GPU in `kv.cuda`.

Both take rows of one length from, or put them to, the places that a plan names. On a GPU the copies of one
mover run one after the other on a stream of their own, beside whatever else the GPU does.
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


class Places(Protocol):
    """Where each row of a plan is on one side, as its mover knows it.

    Attributes:
        row_bytes: Size of a row.
    """

    row_bytes: int


class Mover(Protocol):
    """Copies rows in the memory of one device; all but `allocate` is called by one thread alone."""

    def allocate(self, nbytes: int) -> Any:
        """Allocate memory that can be registered with NIXL; an array of bytes of the library."""

    def places(self, plan: Plan, *, of_source: bool) -> Places:
        """Find the places of a plan's rows on this side."""

    def gather(self, region: Any, places: Any, first: int, rows: int, staging: Any) -> Copied:
        """Begin to copy the plan's rows from `first` on into the beginning of `staging`."""

    def scatter(self, region: Any, places: Any, first: int, rows: int, staging: Any) -> Copied:
        """Begin to copy the beginning of `staging` to the places of the plan's rows from `first` on."""


class Index:
    """Where each row of a plan is in one side's region, counted in rows, computed a window at a time.

    Args:
        plan: What is copied.
        of_source: Whether on the source's side, rather than the target's.

    Attributes:
        row_bytes: Size of a row.
    """

    def __init__(self, plan: Plan, *, of_source: bool) -> None:
        self.row_bytes = plan.lanes.row_bytes
        self._units, self._lanes = side(plan, of_source=of_source)
        self._parts = np.arange(plan.lanes.length // self.row_bytes)
        self._of_lane = len(self._units) * len(self._parts)
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

    def places(self, plan: Plan, *, of_source: bool) -> Index:
        """See Mover."""
        return Index(plan, of_source=of_source)

    def gather(self, region: Any, places: Index, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        size = places.row_bytes
        into = _records(staging, size)[:rows]
        # The places are within bounds by their making; "clip" spares NumPy a second buffer.
        np.take(_records(region, size), places.rows(first, rows), out=into, mode="clip")
        return _done

    def scatter(self, region: Any, places: Index, first: int, rows: int, staging: Any) -> Copied:
        """See Mover."""
        size = places.row_bytes
        _records(region, size)[places.rows(first, rows)] = _records(staging, size)[:rows]
        return _done


def _records(array: Any, size: int) -> Any:
    """View memory as records of so many bytes, without the rest that fills none."""
    flat = array.reshape(-1).view(np.uint8)
    return flat[: len(flat) // size * size].view(np.dtype((np.void, size)))
