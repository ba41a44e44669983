"""Starts an engine on one of the nodes that share a model instance, once the first node awaits the others.

It runs in the image of any engine, so it needs Python 3 and no package. Arguments: the port on which the
first node (DISAGG_LEADER) awaits the others, the longest wait in seconds, words that only the other nodes'
command gets, ``--``, and the command. The process becomes the engine.
"""

import os
import socket
import sys
import time

PAUSE = 5


def await_leader(host: str, port: int, seconds: float) -> None:
    """Return once somebody listens there, or end with who is missing."""
    end = time.monotonic() + seconds
    told = 0.0
    while True:
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"{host}:{port}, the first node of this model instance, is missing: {error}")
            if time.monotonic() > told:
                print(f"waiting for the first node at {host}:{port}: {error}", flush=True)
                told = time.monotonic() + 60
            time.sleep(PAUSE)
        else:
            return


def main(port: str, seconds: str, *words: str) -> None:
    """Wait where this is not the first node, and become the engine."""
    end = words.index("--")
    only_others, command = words[:end], words[end + 1 :]
    if os.environ["DISAGG_NODE_RANK"] != "0":
        await_leader(os.environ["DISAGG_LEADER"], int(port), float(seconds))
        command = (*command, *only_others)
    os.execvp(command[0], command)  # noqa: S606 - the command of the container itself


if __name__ == "__main__":
    main(*sys.argv[1:])
