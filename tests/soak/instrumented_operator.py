"""The operator, unchanged, that also counts its Python objects by type whenever it gets SIGUSR1.

The counts go to the file that the environment's SOAK_COUNTS names, whole or not at all.
"""

import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path

from disagg_operator.runtime.main import main


def count(*_: object) -> None:
    """Write how many objects of each type the garbage collector knows, after it has run."""
    gc.collect()
    found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    target = Path(os.environ["SOAK_COUNTS"])
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.replace(target)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, count)
    main()
