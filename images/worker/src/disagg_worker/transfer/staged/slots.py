"""A bounded store of staging memory, cut into slots of one size."""

from typing import Any

from disagg_worker.memory import Region, region_of

ALIGNMENT = 512


class Slots:
    """Staging memory of one side.

    Args:
        memory: All of it, an array of bytes.
        count: Slots that it is cut into.

    Raises:
        ValueError: There are no two slots: without a second one nothing overlaps.
    """

    def __init__(self, memory: Any, count: int) -> None:
        if count < 2:  # noqa: PLR2004 - one for the wire, one for the copy
            raise ValueError(f"staging slots are {count}; write 2 or more")
        self.count = count
        self.region: Region = region_of(memory)
        self.slot_bytes = self.region.nbytes // count // ALIGNMENT * ALIGNMENT
        self._free = list(range(count - 1, -1, -1))
        size = self.slot_bytes
        self._arrays = [memory[slot * size : (slot + 1) * size] for slot in range(count)]

    @property
    def free(self) -> int:
        """Slots that can be taken."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Slots that are taken."""
        return self.count - self.free

    def take(self) -> int | None:
        """Take a slot; None when all are in use."""
        return self._free.pop() if self._free else None

    def give(self, slot: int) -> None:
        """Give a slot back."""
        if slot in self._free:
            raise ValueError(f"staging slot {slot} is free already: a bug in the caller")
        self._free.append(slot)

    def array(self, slot: int) -> Any:
        """The memory of a slot."""
        return self._arrays[slot]

    def address(self, slot: int) -> int:
        """Where a slot begins."""
        return self.region.address + slot * self.slot_bytes
