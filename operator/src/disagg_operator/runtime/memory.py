"""Memory of the process once its caches are in step.

Code and profiles stay for ever: the garbage collector need not look at them again and again. What was needed
to parse lists of thousands of objects is free, and is given back to the machine where its C library can.
"""

import ctypes
import gc
from contextlib import suppress


def settle() -> None:
    """Exempt what is there from garbage collection, and give back what is free."""
    gc.collect()
    gc.freeze()
    # Only glibc has it.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
