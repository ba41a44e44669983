"""KV transfer: the prefill worker offers blocks with a ticket, the decode worker reads them with NIXL."""

from disagg_worker.transfer.agent import Agent, NixlAgent
from disagg_worker.transfer.errors import (
    Damaged,
    NoRoom,
    PeerLost,
    PeerSilent,
    ShapeMismatch,
    TransferError,
    TransferTimeout,
)
from disagg_worker.transfer.link import Link, open_link
from disagg_worker.transfer.reader import Reader
from disagg_worker.transfer.source import Source
from disagg_worker.transfer.ticket import Ticket

__all__ = [
    "Agent",
    "Damaged",
    "Link",
    "NixlAgent",
    "NoRoom",
    "PeerLost",
    "PeerSilent",
    "Reader",
    "ShapeMismatch",
    "Source",
    "Ticket",
    "TransferError",
    "TransferTimeout",
    "open_link",
]
