"""Frames between ranks on blocking sockets: a text, and a matrix of numbers where there is one."""

import socket
import struct
from typing import Any

import numpy as np

from disagg_worker.model.spec import Array

# Bytes of the text, type of the numbers, rows, columns.
_HEADER = struct.Struct("!IcII")
_NONE = b"-"
_TYPES: dict[bytes, "np.dtype[Any]"] = {b"f": np.dtype("<f4"), b"q": np.dtype("<i8")}
_LONGEST_TEXT, _MOST_BYTES = 16 << 20, 1 << 30
# A node that vanishes without a word is noticed after half a minute.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


def prepare(connection: socket.socket) -> None:
    """Send small frames at once, and notice a peer that vanished."""
    for level, option, value in _KEEPALIVE:
        connection.setsockopt(level, option, value)


def send(connection: socket.socket, text: bytes, numbers: Array | None = None) -> None:
    """Send a frame.

    Args:
        connection: A blocking socket.
        text: At most 16 MiB.
        numbers: float32 `[rows, columns]`, or int64 `[columns]`.
    """
    if numbers is None:
        connection.sendall(_HEADER.pack(len(text), _NONE, 0, 0) + text)
        return
    matrix = np.ascontiguousarray(np.atleast_2d(numbers))
    kind = b"q" if matrix.dtype.kind == "i" else b"f"
    matrix = matrix.astype(_TYPES[kind], copy=False)
    connection.sendall(_HEADER.pack(len(text), kind, *matrix.shape) + text)
    connection.sendall(matrix.data if matrix.size else b"")


def receive(connection: socket.socket) -> tuple[bytes, Array | None]:
    """Receive a frame: its text, and its numbers as `[rows, columns]`.

    Raises:
        ConnectionError: The connection ended, or what came is no frame.
        OSError: The connection broke, or its timeout has passed.
    """
    length, kind, rows, columns = _HEADER.unpack(_exactly(connection, _HEADER.size))
    if length > _LONGEST_TEXT or kind not in (_NONE, *_TYPES):
        raise ConnectionError("what came is no frame of a rank")
    text = bytes(_exactly(connection, length))
    if kind == _NONE:
        return text, None
    if rows * columns * _TYPES[kind].itemsize > _MOST_BYTES:
        raise ConnectionError("what came is no frame of a rank")
    numbers = np.empty((rows, columns), dtype=_TYPES[kind])
    if numbers.size:
        _fill(connection, numbers.data.cast("B"))
    return text, numbers


def _exactly(connection: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    _fill(connection, memoryview(data))
    return data


def _fill(connection: socket.socket, view: "memoryview[Any]") -> None:
    while view:
        count = connection.recv_into(view)
        if not count:
            raise ConnectionError("the connection was closed")
        view = view[count:]
