"""Reads logs of containers through the API server, line by line."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import quote

from disagg_operator.cli.live.connection import Connection, told

LONGEST_LINE = 1 << 20
"""Bytes. A longer line is cut into several."""
_FOR_EVER = 3600.0 * 24
_SECONDS = 30.0


@dataclass(frozen=True)
class Extent:
    """How much of a log is read.

    Attributes:
        tail: how many of the last lines; None for all.
        since_seconds: not what is older; None for all.
        since: not what is older than this time of RFC 3339; nothing for all.
        previous: of the run of the container before the one that is.
        follow: whether to go on with what comes.
        stamped: whether each line begins with its time.
    """

    tail: int | None = None
    since_seconds: int | None = None
    since: str = ""
    previous: bool = False
    follow: bool = False
    stamped: bool = False

    def query(self, container: str) -> dict[str, str]:
        """Return the query of the request."""
        found = {
            "container": container,
            "tailLines": self.tail,
            "sinceSeconds": self.since_seconds,
            "sinceTime": self.since or None,
            "previous": self.previous or None,
            "follow": self.follow or None,
            "timestamps": self.stamped or None,
        }
        return {
            key: str(value).lower() if value is True else str(value)
            for key, value in found.items()
            if value is not None
        }


async def lines(connection: Connection, pod: str, container: str, extent: Extent) -> AsyncGenerator[str]:
    """Yield the lines of a container's log, without their ends.

    Args:
        connection: the cluster.
        pod: name of the pod.
        container: name of the container.
        extent: how much is read.

    Raises:
        UserError: it could not be read, or broke off.
    """
    path = f"/api/v1/namespaces/{quote(connection.namespace)}/pods/{quote(pod)}/log"
    left = b""
    with told(connection, "get", "pods/log", pod):
        request = connection.cluster.opened(
            "get",
            "pods/log",
            path,
            query=extent.query(container),
            quiet=_FOR_EVER if extent.follow else _SECONDS,
        )
        async with request as chunks:
            async for chunk in chunks:
                *whole, left = (left + chunk).split(b"\n")
                for line in whole:
                    yield _text(line)
                if len(left) > LONGEST_LINE:
                    yield _text(left)
                    left = b""
    if left:
        yield _text(left)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\r")
