"""The operator that also counts its Python objects by type whenever it gets SIGUSR1.

It keeps few plans: the pool fills as it is to, and with few it is full before the first count and hides no
leak. Its Lease is a longer one: a process that ends as its machine has too much to do shows nothing.
What makes ssh keys is imported at once, and not when a first group happens to come, between two counts.
The counts go to the file that the environment's SOAK_COUNTS names, whole or not at all.
"""

import gc
import json
import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from unittest.mock import patch

from disagg_operator.reconcile.applying.ssh_keys import new_key
from disagg_operator.reconcile.plans import Plans
from disagg_operator.runtime import leader, operator
from disagg_operator.runtime.main import main

_FEW = 4
_DURATION, _DEADLINE = 40, 30.0


def count(*_: object) -> None:
    """Write how many objects of each type the garbage collector knows, after it has run."""
    # What was there at the start is exempt from collection, and would not be counted.
    gc.unfreeze()
    gc.collect()
    found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    target = Path(os.environ["SOAK_COUNTS"])
    unfinished = target.with_suffix(".partial")
    unfinished.write_text(json.dumps(found))
    unfinished.replace(target)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, count)
    new_key()
    with (
        patch.object(operator, "Plans", partial(Plans, most=_FEW)),
        patch.object(leader, "DURATION_SECONDS", _DURATION),
        patch.object(leader, "DEADLINE_SECONDS", _DEADLINE),
    ):
        main()
