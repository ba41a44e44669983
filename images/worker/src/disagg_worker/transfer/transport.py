"""Which transport UCX really uses for READs, from UCX's own protocol tables.

With UCX_PROTO_INFO UCX writes, the first time it reads from a peer over a set of lanes, a table headed
"remote memory read by ucp_get" whose last column names the lanes that carry the bytes ("tcp/eth0",
"cma/memory", "srd/rdmap40s0:1"). The lanes that it lists when it connects are candidates only: a peer of
the same host shows tcp there and is then read through cma. Tables go to a file, so that the worker's log
stays short; UCX buffers it, hence the flush.
"""

import ctypes
import os
import re
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

UNKNOWN = "unknown"
_READ_TABLE = "remote memory read by ucp_get"
_ROW = re.compile(r"\|\s*\d+\S*\.\.(?P<end>\S+)\s*\|(?P<how>[^|]*)\|(?P<lanes>[^|]*)\|")
_LANE = re.compile(r"[a-z][\w.]*/[\w.:\-]+")


def prepare_evidence(environment: MutableMapping[str, str]) -> None:
    """Ask UCX for its protocol tables; must run before UCX is loaded. Settings that are there are kept."""
    environment.setdefault("UCX_LOG_LEVEL", "info")
    environment.setdefault("UCX_PROTO_INFO", "y")
    environment.setdefault("UCX_LOG_FILE", str(Path(tempfile.gettempdir()) / "ucx-%p.log"))


def read_tables(text: str) -> Iterator[str]:
    """Find the transports of READs in UCX's log.

    Args:
        text: The log, tables included.

    Yields:
        For each table in its order the lanes of the largest sizes, joined with "+", such as "tcp/eth0".
    """
    lanes = ""
    inside = False
    for line in text.splitlines():
        if _READ_TABLE in line:
            inside, lanes = True, ""
        elif inside and (row := _ROW.search(line)):
            lanes = "+".join(dict.fromkeys(_LANE.findall(row["lanes"]))) or lanes
        elif inside and lanes and "+--" in line:
            yield lanes
            inside = False


class TransportWatch:
    """Names the transport per peer.

    UCX writes one table per set of lanes, not per peer: a peer that brings a new table uses that; one that
    brings none uses the only transport there is, or an unknown one of several.

    Args:
        log: UCX's log file; None takes the one of UCX_LOG_FILE.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._log = log or Path(os.environ.get("UCX_LOG_FILE", os.devnull).replace("%p", str(os.getpid())))
        self._offset = 0
        self._seen: dict[str, None] = {}
        self._peers: dict[str, str] = {}

    def of(self, peer: str) -> str:
        """Name the transport of a peer; call it after a READ from it."""
        known = self._peers.get(peer)
        if known:
            return known
        fresh = list(read_tables(self._new_text()))
        self._seen.update(dict.fromkeys(fresh))
        if fresh:
            self._peers[peer] = fresh[-1]
        elif len(self._seen) == 1:
            self._peers[peer] = next(iter(self._seen))
        return self._peers.get(peer, UNKNOWN)

    def forget(self, peer: str) -> None:
        """Ask anew at the peer's next READ: it may come back on other lanes."""
        self._peers.pop(peer, None)

    def _new_text(self) -> str:
        ctypes.CDLL(None).fflush(None)
        try:
            with self._log.open("rb") as log:
                log.seek(self._offset)
                data = log.read()
        except OSError:
            return ""
        self._offset += len(data)
        return data.decode(errors="replace")
