"""How the ranks of a group find each other at the start, before any of them serves.

Followers call the leader, twice each, until it answers: it does once all are there. Whoever waits in vain
ends with a sentence that names who is missing. What differs in what must be equal is told to both sides.
"""

import contextlib
import hashlib
import logging
import socket
import time
import uuid
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from disagg_worker.config import EngineConfig
from disagg_worker.errors import ConfigError
from disagg_worker.group import wire
from disagg_worker.group.membership import Membership, address_of
from disagg_worker.transfer.ticket import Part

_HELLO_SECONDS = 5.0
_PAUSE_SECONDS = 0.5

log = logging.getLogger(__name__)


class Hello(BaseModel):
    """What a follower says when it calls.

    Attributes:
        rank: Who it is.
        ranks: How many it believes there are.
        group: What must be equal on all ranks (role and configuration), as a hash.
        call: Names the try to join, of which both connections are part.
        line: What the connection is for.
        digests: Of the weights that it holds.
        part: Its pool, where others read from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int
    ranks: int
    group: str
    call: str
    line: Literal["control", "compute"]
    digests: tuple[str, ...] = ()
    part: Part | None = None


class Answer(BaseModel):
    """What the leader answers, once all are there or at a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str = ""


@dataclass
class Member:
    """A follower as the leader knows it.

    Attributes:
        hello: What it said.
        lines: Its connections by what they are for; blocking.
    """

    hello: Hello
    lines: dict[str, socket.socket]

    @property
    def complete(self) -> bool:
        """Whether both connections are there."""
        return len(self.lines) == 2  # noqa: PLR2004 - control and compute

    def close(self) -> None:
        """Close its connections."""
        for line in self.lines.values():
            line.close()


def group_digest(role: str, config: EngineConfig) -> str:
    """Hash what must be equal on all ranks of a model instance."""
    return hashlib.sha256(f"{role} {config.model_dump_json()}".encode()).hexdigest()


def gather(membership: Membership, group: str) -> list[Member]:
    """Wait, as the leader, until all followers have called; returns them by rank.

    Args:
        membership: Of the leader.
        group: What must be equal on all ranks.

    Raises:
        ConfigError: Not all came in time, or the port is taken.
    """
    ranks = range(1, membership.place.ranks)
    members: dict[int, Member] = {}
    until = time.monotonic() + membership.wait_seconds
    log.info("waiting for %d other ranks on port %d", len(ranks), membership.port)
    with _listener(membership.port) as listener:
        while not all(rank in members and members[rank].complete for rank in ranks):
            listener.settimeout(max(0.01, until - time.monotonic()))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                missing = [rank for rank in ranks if rank not in members or not members[rank].complete]
                raise ConfigError(_missing(membership, missing)) from None
            _take_in(connection, membership, group, members)
    found = [members[rank] for rank in ranks]
    for member in found:
        with contextlib.suppress(OSError):  # it is noticed when the line is used
            wire.send(member.lines["control"], Answer().model_dump_json().encode())
    return found


def join(membership: Membership, hello: Hello) -> dict[str, socket.socket]:
    """Call the leader, as a follower, until all ranks are there; returns the connections by their use.

    Args:
        membership: Of the follower.
        hello: What to say, but for line and call.

    Raises:
        ConfigError: No leader answered in time, or it refuses this rank.
    """
    until = time.monotonic() + membership.wait_seconds
    while True:
        try:
            return _call(membership, hello, until)
        except OSError as error:
            if time.monotonic() + _PAUSE_SECONDS > until:
                raise ConfigError(_in_vain(membership, error)) from None
            time.sleep(_PAUSE_SECONDS)


def _listener(port: int) -> socket.socket:
    try:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--group-port: port {port} cannot be used ({error}); give another") from None


def _take_in(
    connection: socket.socket, membership: Membership, group: str, members: dict[int, Member]
) -> None:
    """Hear who calls; what is no rank of this group is told so, or nothing, and let go."""
    connection.settimeout(_HELLO_SECONDS)
    try:
        hello = Hello.model_validate_json(wire.receive(connection)[0])
        fault = _fault(hello, membership, group)
        if fault:
            log.error("%s", fault)
            wire.send(connection, Answer(fault=fault).model_dump_json().encode())
    except (OSError, ValidationError) as error:
        log.warning("a connection that is of no rank was closed: %s", error)
        fault = "no rank"
    if fault:
        connection.close()
        return
    connection.settimeout(None)
    wire.prepare(connection)
    known = members.get(hello.rank)
    if known is not None and known.hello.call != hello.call:
        known.close()  # its process has ended since, or has lost a connection
        known = None
    if known is None:
        known = members[hello.rank] = Member(hello, {})
    if hello.line == "control":
        known.hello = hello
    known.lines[hello.line] = connection


def _fault(hello: Hello, membership: Membership, group: str) -> str:
    ranks = membership.place.ranks
    if hello.ranks != ranks or not 0 < hello.rank < ranks:
        return (
            f"rank {hello.rank} of {hello.ranks} called the leader of {ranks} ranks; start all with one size"
        )
    if hello.group != group:
        return f"rank {hello.rank} has another role or configuration than its leader; start all with the same"
    return ""


def _call(membership: Membership, hello: Hello, until: float) -> dict[str, socket.socket]:
    lines: dict[str, socket.socket] = {}
    call = uuid.uuid4().hex
    address = (membership.leader, membership.port)
    with contextlib.ExitStack() as failing:
        for use in ("control", "compute"):
            line = lines[use] = failing.enter_context(
                socket.create_connection(address, timeout=_HELLO_SECONDS)
            )
            wire.prepare(line)
            said = hello.model_copy(update={"line": use, "call": call})
            wire.send(line, said.model_dump_json().encode())
        lines["control"].settimeout(max(_PAUSE_SECONDS, until - time.monotonic()))
        answer = Answer.model_validate_json(wire.receive(lines["control"])[0])
        if answer.fault:
            raise ConfigError(answer.fault)
        failing.pop_all()
    for line in lines.values():
        line.settimeout(None)
    return lines


def _missing(membership: Membership, ranks: list[int]) -> str:
    told = (f"rank {rank} ({host}: {address_of(host)})" for rank in ranks for host in [membership.host(rank)])
    return (
        f"this model instance is on {membership.place.ranks} nodes, and after {membership.wait_seconds:g} s "
        f"these have not joined: {', '.join(told)}; are their pods scheduled and running?"
    )


def _in_vain(membership: Membership, error: OSError) -> str:
    place = membership.place
    return (
        f"rank {place.rank} of {place.ranks} found no leader after {membership.wait_seconds:g} s: "
        f"{membership.leader} on port {membership.port}, {address_of(membership.leader)} "
        f"({error}); is its pod running, and are all other ranks there?"
    )
