"""RDMA netlink, with a simulated kernel that speaks its wire format (uapi/rdma/rdma_netlink.h)."""

import errno
import struct
from collections.abc import Iterator

import pytest

from disagg_worker.agent import rdma_netlink as nl

NESTED = 0x8000


def attribute(kind: int, payload: bytes) -> bytes:
    length = nl.ATTRIBUTE.size + len(payload)
    return nl.ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def message(kind: int, payload: bytes) -> bytes:
    return nl.HEADER.pack(nl.HEADER.size + len(payload), kind, 2, 1, 0) + payload


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def device(index: int, name: str, ports: int) -> bytes:
    return message(
        nl.GET,
        attribute(nl.DEV_INDEX, u32(index))
        + attribute(nl.DEV_NAME, name.encode() + b"\0")
        + attribute(nl.PORT_INDEX, u32(ports)),
    )


def counters(**values: int) -> bytes:
    entries = b"".join(
        attribute(
            nl.HWCOUNTER_ENTRY | NESTED,
            attribute(nl.HWCOUNTER_NAME, name.encode() + b"\0")
            + attribute(nl.HWCOUNTER_VALUE, struct.pack("=Q", value)),
        )
        for name, value in values.items()
    )
    return message(nl.STAT_GET, attribute(nl.HWCOUNTERS | NESTED, entries))


def acknowledge(code: int = 0) -> bytes:
    return message(nl.ERROR, struct.pack("=i", -code) + b"\0" * 16)


class SimulatedKernel:
    """Two EFA devices and one that counts nothing."""

    def __init__(self) -> None:
        self.answers = {
            (7, 1): [counters(tx_bytes=1 << 40, rx_bytes=2), acknowledge()],
            (8, 1): [counters(tx_bytes=3) + acknowledge()],
            (9, 1): [acknowledge(errno.EOPNOTSUPP)],
        }

    def __call__(self, request: bytes) -> Iterator[bytes]:
        length, kind, flags, *_ = nl.HEADER.unpack_from(request)
        assert length == len(request)
        if kind == nl.GET:
            assert flags == nl.REQUEST | nl.DUMP
            yield device(7, "rdmap0s0", 1) + device(8, "rdmap1s0", 1)
            yield device(9, "siw0", 1)
            yield message(nl.DONE, u32(0))
        else:
            assert (kind, flags) == (nl.STAT_GET, nl.REQUEST | nl.ACK)
            asked = struct.unpack("=HHIHHI", request[nl.HEADER.size :])
            assert asked[1] == nl.DEV_INDEX
            assert asked[4] == nl.PORT_INDEX
            yield from self.answers[asked[2], asked[5]]


def test_counters_of_every_device_are_read() -> None:
    assert nl.counters_by(SimulatedKernel()) == {
        ("rdmap0s0", 1): {"tx_bytes": 1 << 40, "rx_bytes": 2},
        ("rdmap1s0", 1): {"tx_bytes": 3},
    }


def test_a_refusal_of_the_kernel_is_an_error() -> None:
    kernel = SimulatedKernel()
    kernel.answers[8, 1] = [acknowledge(errno.EPERM)]
    with pytest.raises(PermissionError):
        nl.counters_by(kernel)


def test_a_broken_message_ends_without_a_loop() -> None:
    kernel = SimulatedKernel()
    kernel.answers[7, 1] = [b"\0" * 64, acknowledge()]
    assert nl.counters_by(kernel)["rdmap0s0", 1] == {}
