"""Waits until a frontend has no more requests. It runs in the frontend's image: Python 3 and no package.

Arguments: port and path of its metrics, end of the name of the gauge that counts its requests, seconds until
no route leads to it any more, and longest wait in seconds.
"""

import http.client
import sys
import time


def running(port: int, path: str, gauge: str) -> float:
    """Return how many requests run: the sum of a gauge, whatever its prefix; none where nothing is known."""
    try:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        asked.request("GET", path)
        answer = asked.getresponse()
        text = answer.read().decode() if answer.status == http.client.OK else ""
    except (OSError, http.client.HTTPException):
        return 0
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return sum(float(value) for name, value in samples if name.split("{")[0].endswith(gauge))


def main(port: str, path: str, gauge: str, route_seconds: str, seconds: str) -> None:
    """Wait until nothing runs and nothing can come, or until the time is over."""
    end = time.monotonic() + float(seconds)
    time.sleep(float(route_seconds))
    while running(int(port), path, gauge) and time.monotonic() < end:
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
