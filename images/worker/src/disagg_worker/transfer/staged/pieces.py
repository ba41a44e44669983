"""Cutting a plan into the contents of staging slots. Pure.

Each piece costs some 40 us of a CPU on both sides, in which the link moves 16 MB: pieces are large. The first
is gathered ahead, and travels while the reader finds out where it goes and the owner gathers the second.
Nothing goes on beside the last scattering, so the last one is small.
"""

FIRST_BYTES = 96 << 20
"""Between two H200 about as good as 128 MiB for 300 MB, and a twentieth better than 48 or 64."""
LAST_BYTES = 16 << 20
"""The last piece has so many to twice as many; a hundredth better there than with 24 MiB."""
GROWTH = 3 / 2
"""By how much a piece may exceed the one before: so much quicker than that one travels is it gathered."""


def pieces(rows: int, row_bytes: int, slot_bytes: int) -> list[tuple[int, int]]:
    """Cut a plan's rows, the same on both sides.

    Args:
        rows: Rows in all.
        row_bytes: Size of each.
        slot_bytes: Size of a slot, of the side whose slots are smaller.

    Returns:
        First row and number of rows of each piece, in their order.

    Raises:
        ValueError: A row does not fit into a slot.
    """
    most = slot_bytes // row_bytes
    if not most:
        raise ValueError(f"a staging slot has {slot_bytes} bytes; give it {row_bytes} or more")
    size, last = (max(1, min(most, nbytes // row_bytes)) for nbytes in (FIRST_BYTES, LAST_BYTES))
    found, at = [], 0
    while at < rows:
        left = rows - at
        # A piece is scattered twice as fast as it travels: before one of half its size has arrived.
        end = left if left <= min(most, 2 * last) else left * 2 // 3
        count = min(size, end)
        found.append((at, count))
        at, size = at + count, min(most, int(GROWTH * size) + 1)
    return found
