"""The end of a worker's process.

Invariant: SIGTERM is heeded from the first moment on. The first process of a container ignores it without a
handler, and a pod that is deleted while its worker loads would keep its place for its whole grace period.
"""

import os
import signal
import sys
from threading import Event
from types import FrameType
from typing import NoReturn

SERVES = Event()
"""Set once Dynamo sees to SIGTERM, so that what is served ends first. It calls our handler as well."""


def heed_sigterm() -> None:
    """Have SIGTERM end the process at once, as long as nothing is served."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    if not SERVES.is_set():
        leave(128 + number)


def leave(code: int) -> NoReturn:
    """End the process without the destructors of C libraries: those of NIXL's wheel (libnl) may crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
