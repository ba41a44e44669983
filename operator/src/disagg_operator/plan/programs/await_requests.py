"""Waits until a pod has no more requests. It runs in the pod's image: Python 3 and no package.

Arguments: port and path of its metrics, end of the name of the gauge that counts its requests, seconds until
no route leads to it any more, longest wait for requests in seconds, and seconds for which nothing must have
run before it may end. A pod that does not answer has nothing to finish.
"""

import http.client
import sys
import time


def running(port: int, path: str, gauge: str) -> float | None:
    """Return how many requests run: the sum of a gauge, whatever its prefix; None where nobody answers."""
    try:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        asked.request("GET", path)
        answer = asked.getresponse()
        text = answer.read().decode() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    if text is None:
        return None
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return sum(float(value) for name, value in samples if name.split("{")[0].endswith(gauge))


def main(port: str, path: str, gauge: str, *limits: str) -> None:
    """Wait until nothing runs and nothing can come, or until the time is over."""
    route_seconds, seconds, quiet_seconds = (*map(float, limits), 0.0)[:3]
    time.sleep(route_seconds)
    now = busy_at = time.monotonic()
    end = now + seconds + quiet_seconds
    while now < end:
        count = running(int(port), path, gauge)
        now = time.monotonic()
        if count:
            busy_at = now
        elif count is None or now - busy_at >= quiet_seconds:
            return
        time.sleep(0.5)
        now = time.monotonic()


if __name__ == "__main__":
    main(*sys.argv[1:])
