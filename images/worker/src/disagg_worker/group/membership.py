"""Who this process is in its group, and where the others are."""

import os
import re
import socket
from dataclasses import dataclass

from disagg_worker.errors import ConfigError
from disagg_worker.layers import Place


@dataclass(frozen=True)
class Membership:
    """A rank's view of its group.

    Attributes:
        place: The rank.
        leader: Host name of rank 0, which may not resolve yet.
        port: Where the leader listens.
        wait_seconds: How long ranks wait for each other when they start.
    """

    place: Place
    leader: str
    port: int
    wait_seconds: float

    def host(self, rank: int) -> str:
        """Host name of a rank: pods of a group differ in the index that ends the first part of their name."""
        return re.sub(r"-0(?=\.|$)", f"-{rank}", self.leader, count=1)


def membership(rank: int, ranks: int, leader: str, port: int, wait_seconds: float) -> Membership | None:
    """Check what a rank is told of its group; None for a model on one node.

    Raises:
        ConfigError: It makes no sense.
    """
    if ranks == 1 and rank == 0:
        return None
    if not 0 <= rank < ranks:
        raise ConfigError(f"--node-rank: there is no rank {rank} of {ranks}; write one from 0 to {ranks - 1}")
    if rank and not leader:
        raise ConfigError("--leader: is required on all ranks but the first; write the host name of rank 0")
    return Membership(Place(rank, ranks), leader, port, wait_seconds)


def pod_name() -> str:
    """Name of this process's pod, or what stands for it."""
    return os.environ.get("POD_NAME") or f"{os.uname().nodename}-{os.getpid()}"


def address_of(host: str) -> str:
    """Say whether a host name resolves, for people."""
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except OSError:
        return "its name does not resolve"
    return f"its address is {found[0][4][0]}"
