"""Hardware counters of RDMA devices over RDMA netlink, as `rdma statistic` asks for them.

The kernel answers this in every network namespace while RDMA's namespaces are shared (its default), and asks
for no privilege, whereas /sys shows counters in the node's network namespace only. It knows hardware counters
(all of EFA's), not port counters (`port_xmit_data`). Numbers are those of uapi/rdma/rdma_netlink.h.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

Counters = dict[tuple[str, int], dict[str, int]]
Exchange = Callable[[bytes], Iterator[bytes]]

PROTOCOL = 20  # NETLINK_RDMA
GET, STAT_GET = (5 << 10) + 1, (5 << 10) + 17  # RDMA_NL_NLDEV: RDMA_NLDEV_CMD_GET, RDMA_NLDEV_CMD_STAT_GET
DEV_INDEX, DEV_NAME, PORT_INDEX = 1, 2, 3  # RDMA_NLDEV_ATTR_…
HWCOUNTERS, HWCOUNTER_ENTRY, HWCOUNTER_NAME, HWCOUNTER_VALUE = 80, 81, 82, 83  # RDMA_NLDEV_ATTR_STAT_…
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
HEADER, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
TIMEOUT_SECONDS = 2.0
_TYPE_MASK = 0x3FFF  # without the flags "nested" and "network byte order"
_RECEIVE = 1 << 18
_MOST_ANSWERS = 4096


def read_counters() -> Counters:
    """Read the hardware counters of every port of every RDMA device.

    Returns:
        Counters by device name and port.

    Raises:
        OSError: The kernel has no RDMA, or does not answer.
    """
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, PROTOCOL)) as link:
        link.settimeout(TIMEOUT_SECONDS)
        link.bind((0, 0))

        def exchange(request: bytes) -> Iterator[bytes]:
            link.send(request)
            for _ in range(_MOST_ANSWERS):
                yield link.recv(_RECEIVE)

        return counters_by(exchange)


def counters_by(exchange: Exchange) -> Counters:
    """Read all counters through a function that sends a request and yields datagrams of answers."""
    found: Counters = {}
    for device in list(_ask(exchange, GET, DUMP)):
        index, name, ports = _number(device, DEV_INDEX), _text(device, DEV_NAME), _number(device, PORT_INDEX)
        for port in range(1, ports + 1):
            asked = {DEV_INDEX: index, PORT_INDEX: port}
            try:
                answers = list(_ask(exchange, STAT_GET, ACK, asked))
            except OSError as error:
                if error.errno in (errno.EOPNOTSUPP, errno.ENOENT, errno.ENODEV):
                    continue  # a device that counts nothing, or that has gone since
                raise
            found[name, port] = {
                _text(entry, HWCOUNTER_NAME): _number(entry, HWCOUNTER_VALUE)
                for answer in answers
                for entry in _entries(answer)
            }
    return found


def _ask(
    exchange: Exchange, command: int, flags: int, numbers: dict[int, int] | None = None
) -> Iterator[dict[int, bytes]]:
    """Send one request and yield the attributes of each message of its answer."""
    body = b"".join(
        ATTRIBUTE.pack(8, key) + struct.pack("=I", value) for key, value in (numbers or {}).items()
    )
    head = HEADER.pack(HEADER.size + len(body), command, REQUEST | flags, 1, 0)
    for datagram in exchange(head + body):
        for kind, payload in _messages(datagram):
            if kind == DONE:
                return
            if kind == ERROR:
                (code,) = struct.unpack_from("=i", payload)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return  # the acknowledgement, which comes last
            yield dict(_attributes(payload))


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, *_ = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size:
            return
        yield kind, datagram[offset + HEADER.size : offset + length]
        offset += _aligned(length)


def _attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + ATTRIBUTE.size <= len(payload):
        length, kind = ATTRIBUTE.unpack_from(payload, offset)
        if length < ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, payload[offset + ATTRIBUTE.size : offset + length]
        offset += _aligned(length)


def _entries(answer: dict[int, bytes]) -> Iterator[dict[int, bytes]]:
    for kind, entry in _attributes(answer.get(HWCOUNTERS, b"")):
        if kind == HWCOUNTER_ENTRY:
            yield dict(_attributes(entry))


def _number(attributes: dict[int, bytes], key: int) -> int:
    return int.from_bytes(attributes.get(key, b""), sys.byteorder)


def _text(attributes: dict[int, bytes], key: int) -> str:
    return attributes.get(key, b"").split(b"\0", 1)[0].decode(errors="replace")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
