"""Numbers in words: with two digits, which is more than an estimate knows. Pure."""

import math


def two(value: float) -> str:
    """Return a number with two digits, without an exponent."""
    return f"{float(f'{value:.2g}'):.12g}"


def duration(seconds: float) -> str:
    """Return seconds with their unit."""
    if math.isinf(seconds):
        return "never"
    return f"{two(seconds)} s" if seconds >= 1 else f"{two(seconds * 1e3)} ms"
