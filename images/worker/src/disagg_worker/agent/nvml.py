"""A program that tells NVLink's data bytes through NVML, NVIDIA's management library, as JSON.

Per link the field values NVLINK_THROUGHPUT_DATA_RX and _TX are read, in KiB of data without protocol
overhead, with the link as scope (nvml.h; they took the place of nvmlDeviceGetNvLinkUtilizationCounter). Where
a driver does not give those, NVLINK_COUNT_RCV_BYTES and _XMIT_BYTES are, in bytes.
"""

import ctypes
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

MOST_LINKS = 36  # NVML_NVLINK_MAX_LINKS
DATA_TX, DATA_RX, COUNT_TX, COUNT_RX = 138, 139, 202, 204  # NVML_FI_DEV_NVLINK_…
KIB = 1024


class Value(ctypes.Union):
    """nvmlValue_t."""

    _fields_ = (
        ("d", ctypes.c_double),
        ("ui", ctypes.c_uint),
        ("ul", ctypes.c_ulong),
        ("ull", ctypes.c_ulonglong),
        ("sll", ctypes.c_longlong),
        ("si", ctypes.c_int),
        ("us", ctypes.c_ushort),
    )


class FieldValue(ctypes.Structure):
    """nvmlFieldValue_t."""

    _fields_ = (
        ("field", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency_us", ctypes.c_longlong),
        ("value_type", ctypes.c_int),
        ("result", ctypes.c_int),
        ("value", Value),
    )


_MEMBERS = ("d", "ui", "ul", "ull", "sll", "si", "us")  # in the order of nvmlValueType_t


class NvmlError(Exception):
    """A call of NVML failed."""


class LinkBytes(NamedTuple):
    """Counters of one active link of one GPU."""

    gpu: int
    link: int
    rx_bytes: int
    tx_bytes: int


def read_links(library: str) -> list[LinkBytes]:
    """Read every active link of every GPU that this container may see.

    Args:
        library: NVML, as the dynamic loader takes it.

    Raises:
        NvmlError: There is no NVML, or it refuses.
    """
    try:
        nvml = ctypes.CDLL(library)
        with _started(nvml):
            return list(_links(nvml))
    except (OSError, AttributeError) as error:
        raise NvmlError(f"{library}: {error}") from None


@contextmanager
def _started(nvml: ctypes.CDLL) -> Iterator[None]:
    _call(nvml, "nvmlInit_v2")
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _links(nvml: ctypes.CDLL) -> Iterator[LinkBytes]:
    count = ctypes.c_uint()
    _call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    for gpu in range(count.value):
        device = ctypes.c_void_p()
        _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(gpu), ctypes.byref(device))
        for link in range(MOST_LINKS):
            state = ctypes.c_uint()
            if nvml.nvmlDeviceGetNvLinkState(device, ctypes.c_uint(link), ctypes.byref(state)):
                break  # this GPU has no such link
            if state.value:
                rx, tx = _bytes(nvml, device, link)
                yield LinkBytes(gpu, link, rx_bytes=rx, tx_bytes=tx)


def _bytes(nvml: ctypes.CDLL, device: ctypes.c_void_p, link: int) -> tuple[int, int]:
    """Return received and sent bytes of one link."""
    asked = (DATA_RX, DATA_TX, COUNT_RX, COUNT_TX)
    values = (FieldValue * len(asked))(*(FieldValue(field=field, scope=link) for field in asked))
    _call(nvml, "nvmlDeviceGetFieldValues", device, ctypes.c_int(len(asked)), values)
    data_rx, data_tx, count_rx, count_tx = (_value(each) for each in values)
    if data_rx is not None and data_tx is not None:
        return data_rx * KIB, data_tx * KIB
    if count_rx is not None and count_tx is not None:
        return count_rx, count_tx
    raise NvmlError(f"NVLink {link}: {_told(nvml, values[0].result)}")


def _value(field: FieldValue) -> int | None:
    if field.result or not 0 <= field.value_type < len(_MEMBERS):
        return None
    return int(getattr(field.value, _MEMBERS[field.value_type]))


def _call(nvml: ctypes.CDLL, name: str, *arguments: Any) -> None:
    result = getattr(nvml, name)(*arguments)
    if result:
        raise NvmlError(f"{name}: {_told(nvml, result)}")


def _told(nvml: ctypes.CDLL, result: int) -> str:
    tell = nvml.nvmlErrorString
    tell.restype = ctypes.c_char_p
    text: bytes | None = tell(ctypes.c_int(result))
    return text.decode(errors="replace") if text else f"error {result}"


def main() -> None:
    """Write the links, or exit with status 1 and the reason; the library is the argument."""
    try:
        json.dump(read_links(sys.argv[1]), sys.stdout)
    except NvmlError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
