"""Cutting a plan into the contents of staging slots. Pure.

Each piece costs some 60 us of a CPU on both sides, in which the link moves 24 MB: pieces are large. Nothing
goes on beside the first gathering and the last scattering, so the first and the last are smaller.
"""

SMALLEST_BYTES = 24 << 20
"""Between two H200 better than 16, 32 or 48 MiB for most of ten layouts and lengths, by up to a tenth."""
GROWTH = 3
"""By how much a piece may exceed the one before: it is gathered 3.5 times as fast as that one travels."""


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
    least = max(1, min(most, SMALLEST_BYTES // row_bytes))
    found, at, size = [], 0, least
    while at < rows:
        left = rows - at
        # A piece is scattered twice as fast as it travels: before one of half its size has arrived.
        end = left if left <= min(most, 2 * least) else left * 2 // 3
        count = min(size, end)
        found.append((at, count))
        at, size = at + count, min(most, GROWTH * size)
    return found
