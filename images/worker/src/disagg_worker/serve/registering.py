"""Ends a worker that Dynamo does not register: such a process lives, is never ready, and nobody else ends it.

Seen with Dynamo 1.6.1 in one of 79 starts, by the API server's audit log: the worker listed and watched what
it discovers, and wrote its model card only when these watches ran out, 290 s later. Seen from inside, such a
process answers /health without its endpoint. A registration that gets stuck after that is not noticed.

Invariant: a process ends only if it said of itself, often enough, that it does not serve the endpoint. One
that is silent, or was stopped for a while, does not.
"""

import asyncio
import http.client
import json
import logging
from collections.abc import Callable

from disagg_worker.ending import leave

ANSWERS = 60
"""So many answers without the endpoint end the process. A registration takes milliseconds."""
PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


async def registered_or_ended(
    port: int,
    endpoint: str,
    *,
    answers: int = ANSWERS,
    pause: float = PAUSE_SECONDS,
    end: Callable[[int], object] = leave,
) -> None:
    """Return once Dynamo serves an endpoint of this process, and end the process where that does not come.

    Args:
        port: Of this process' system server (DYN_SYSTEM_PORT).
        endpoint: Its name, such as `generate`.
        answers: How many answers without it end the process.
        pause: Seconds between two questions.
        end: Ends the process, with an exit code.
    """
    lacking = 0
    while lacking < answers:
        found = await asyncio.to_thread(served, port)
        if found is not None and endpoint in found:
            return
        lacking += found is not None
        await asyncio.sleep(pause)
    log.error(
        "Dynamo has not registered this worker within %g s; it ends, and its container starts anew. If that "
        "goes on: is the API server (or etcd) there, and may the pod's ServiceAccount write "
        "DynamoWorkerMetadata?",
        answers * pause,
    )
    end(1)


def served(port: int) -> set[str] | None:
    """Return the endpoints, ready or not, that a process on this host names; None where it does not say."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        return set(json.loads(connection.getresponse().read())["endpoints"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
