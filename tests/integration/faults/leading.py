"""What tests of several operator processes share: what their proxies' logs tell, and clocks that jump."""

import json
import subprocess
from pathlib import Path

from disagg_operator.runtime.leader import DURATION_SECONDS
from integration.faults.proxy import FaultProxy
from integration.faults.requests import READS, Call, Entry, Match

LEASES = Match(resources={"leases"})
LEASE_WRITES = Match(verbs={"create", "update"}, resources={"leases"})
OK = 200
SHIM = Path(__file__).with_name("wall_clock.c")


def changes_something(call: Call) -> bool:
    """Tell whether a request changes anything but the Lease: an Event, too, is for the leader alone."""
    return call.verb not in READS and call.resource not in {"leases", ""}


def writes_of(proxy: FaultProxy) -> list[Entry]:
    """Return the writes that reached the API server through a proxy, in the order in which they did."""
    passed = [entry for entry in proxy.log if entry.passed is not None and changes_something(entry.call)]
    return sorted(passed, key=_passed)


def taken_too_early(first: FaultProxy, second: FaultProxy) -> list[str]:
    """Return the writes of the second to the Lease while it was the first's: 15 s from its last renewal.

    A machine that is very busy may keep a leader from renewing. It gives the Lease up then, or it runs out.
    """
    theirs = [entry for entry in first.entries(LEASE_WRITES) if entry.passed and entry.code == OK]
    found = []
    for entry in second.entries(LEASE_WRITES):
        last = max((each for each in theirs if (each.passed or 0.0) < entry.began), key=_passed, default=None)
        if last and json.loads(last.call.body)["spec"]["holderIdentity"]:
            found += [str(entry)] * (entry.began - _passed(last) < DURATION_SECONDS)
    return found


def _passed(entry: Entry) -> float:
    return entry.passed or 0.0


class WallClock:
    """The wall clock of one process, which can be moved; its monotonic clock stays as it is."""

    def __init__(self, folder: Path) -> None:
        """Make a clock that is right.

        Args:
            folder: an empty folder.
        """
        folder.mkdir()
        self._offset, library = folder / "offset", folder / "wall_clock.so"
        self.move(0)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self._offset)}

    def move(self, seconds: int) -> None:
        """Have the clock show another time from now on: so many seconds more than is right."""
        partial = self._offset.with_suffix(".partial")
        partial.write_text(str(seconds))
        # No process reads a file that is half written.
        partial.rename(self._offset)
