"""Ends a worker that Dynamo does not register: such a process lives, is never ready, and nobody else ends it.

Seen with Dynamo 1.6.1 in one of 79 starts, by the API server's audit log: the worker listed and watched what
it discovers, and wrote its own registration only when these watches ran out, 290 s later.
"""

import asyncio
import http.client
import json
import logging
from collections.abc import Callable

from disagg_worker.ending import leave

SECONDS = 60.0
"""Since the engine was started. A registration takes milliseconds, and a process that starts anew less."""
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


async def registered_or_ended(
    port: int, endpoint: str, *, seconds: float = SECONDS, end: Callable[[int], object] = leave
) -> None:
    """Return once Dynamo serves an endpoint of this process, and end the process where that does not come.

    Args:
        port: Of this process' system server (DYN_SYSTEM_PORT).
        endpoint: Its name, such as `generate`.
        seconds: How long is waited.
        end: Ends the process, with an exit code.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while endpoint not in await asyncio.to_thread(served, port):
        if clock() > until:
            log.error(
                "Dynamo has not registered this worker within %g s; it ends, and its container starts anew. "
                "If that goes on: is the API server (or etcd) there, and may the pod's ServiceAccount write "
                "DynamoWorkerMetadata?",
                seconds,
            )
            end(1)
            return
        await asyncio.sleep(_PAUSE_SECONDS)


def served(port: int) -> set[str]:
    """Return the endpoints, ready or not, that a process on this host names; none while it is silent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        return set(json.loads(connection.getresponse().read())["endpoints"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return set()
    finally:
        connection.close()
