"""Runs a command in a container, and again whenever it ends; only the Python of the image is needed.

A container that ended is not ready, and takes its pod out of service with it. What only watches a worker must
never do that to it, whatever becomes of it: a lacking command, a taken port, a fault of its own.

Usage: keep_running.py SECONDS COMMAND [ARGUMENT …]
"""

import signal
import subprocess
import sys
import time
from types import FrameType


def main(pause: float, command: list[str]) -> None:
    """Run the command until SIGTERM comes, which it is passed.

    Args:
        pause: seconds before it is run again.
        command: argument vector.
    """
    running: list[subprocess.Popen[bytes]] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        for process in running:
            process.terminate()
        sys.exit()

    signal.signal(signal.SIGTERM, end)
    while True:
        try:
            running[:] = [subprocess.Popen(command)]  # noqa: S603 - the plan's own command
            what = f"ended with code {running[0].wait()}"
        except OSError as error:
            what = f"cannot be run ({error})"
        running.clear()
        print(f"{' '.join(command)} {what}; it is run again in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
