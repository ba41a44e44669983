"""Memory of the process: what stays for ever, and what is given back.

Code and profiles stay, and so do caches once they are in step: the garbage collector need not look at them
again and again. It looks for young garbage more rarely than by default, since little of what a reconcile
makes is in cycles: it took a fifth of the time of a start. What was needed to parse lists
of thousands of objects is free, and is given back to the machine where its C library can. So are the lines of
the sources that pydantic read for the words about fields.
"""

import ctypes
import gc
import linecache
from contextlib import suppress

_YOUNG_OBJECTS = 50_000
"""Objects that are made, less those that are gone, until it is looked whether some are garbage."""


def begin() -> None:
    """Settle when the process begins to work, and have young garbage looked for more rarely from then on."""
    gc.set_threshold(_YOUNG_OBJECTS)
    linecache.clearcache()
    settle()


def settle() -> None:
    """Exempt what is there from garbage collection, and give back what is free."""
    gc.collect()
    gc.freeze()
    # Only glibc has it.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
