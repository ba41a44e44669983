"""Waits until services answer. It runs in the image of any engine, so it needs Python 3 and no package.

Arguments: longest wait in seconds, then services as NAME=URL or NAME=URL,URL of which one must answer.
"""

import http.client
import socket
import sys
import time
from urllib.parse import urlsplit


def fault(url: str) -> str:
    """Return why nothing answers at a URL, or nothing where it does."""
    place = urlsplit(url)
    port = place.port or {"http": 80, "https": 443}.get(place.scheme, 4222)
    try:
        if place.scheme == "http":
            asked = http.client.HTTPConnection(place.hostname or "", port, timeout=2)
            asked.request("GET", "/health")
            status = asked.getresponse().status
            return "" if status == http.client.OK else f"/health answers {status}"
        with socket.create_connection((place.hostname, port), timeout=2) as connection:
            # A NATS server speaks first. What comes over TLS cannot be read from here.
            speaks = place.scheme != "nats" or connection.recv(4) == b"INFO"
            return "" if speaks else "it is no NATS server"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def main(seconds: str, *services: str) -> None:
    """Wait for all services, or end with what is missing."""
    end = time.monotonic() + float(seconds)
    for name, urls in (service.split("=", 1) for service in services):
        while all(faults := [fault(url) for url in urls.split(",")]):
            told = f"{name} does not answer at {urls}: {'; '.join(faults)}"
            if time.monotonic() > end:
                sys.exit(f"{told} (waited {seconds} s; the engine would not start without it)")
            print(told, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
