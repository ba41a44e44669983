"""Bytes of the pod's network interfaces, from /proc/net/dev: the agent shares the engine's network."""

import re
from collections.abc import Iterator
from pathlib import Path

from disagg_worker.agent.evidence import Interface
from disagg_worker.agent.reading import Unread, read_text

# Name, received bytes, seven more columns of receiving, sent bytes (proc_pid_net(5)).
_LINE = re.compile(r"^\s*(?P<name>\S+?):\s*(?P<rx>\d+)(?:\s+\d+){7}\s+(?P<tx>\d+)\b", re.MULTILINE)


def read_interfaces(proc: Path, unread: Unread) -> tuple[Interface, ...]:
    """Read every interface's bytes.

    Args:
        proc: Root of the proc file system.
        unread: Gets a note when the file cannot be read.
    """
    try:
        return tuple(_parse(read_text(proc / "net" / "dev")))
    except OSError as error:
        unread.add("network interfaces", error)
        return ()


def _parse(text: str) -> Iterator[Interface]:
    for line in _LINE.finditer(text):
        yield Interface(line["name"], rx_bytes=int(line["rx"]), tx_bytes=int(line["tx"]))
