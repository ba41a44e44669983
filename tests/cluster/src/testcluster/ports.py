"""Ports of the loopback for programs that are about to listen.

Invariant: they are below those that the kernel gives to clients, which might take one before its program
listens, and of a range of this process's own among those of its neighbours.
"""

import os
import random
import socket
from contextlib import ExitStack, suppress

FIRST = 12000
SIZE = 100
RANGES = 80


def free_ports(count: int) -> list[int]:
    """Return different ports on which nobody listens now.

    Args:
        count: how many.

    Raises:
        OSError: so many are not free.
    """
    first = FIRST + os.getpid() % RANGES * SIZE
    free: list[int] = []
    # All are held open at once, so that no port comes twice.
    with ExitStack() as held:
        for port in random.sample(range(first, first + SIZE), SIZE):
            if len(free) == count:
                return free
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                free.append(port)
    raise OSError(f"of the ports {first} to {first + SIZE - 1}, fewer than {count} are free")
