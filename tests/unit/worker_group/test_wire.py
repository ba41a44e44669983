"""Frames between ranks: what goes in comes out, bit for bit; what is no frame is refused."""

import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from disagg_worker.group import wire

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    far.settimeout(20)
    with near, far:
        yield near, far


@pytest.mark.parametrize("rows", [0, 1, 700])
def test_hidden_states_arrive_bit_for_bit(pair: Pair, rows: int) -> None:
    near, far = pair
    sent = np.random.default_rng(0).standard_normal((rows, 576), dtype=np.float32)
    sender = threading.Thread(target=wire.send, args=(near, b"text", sent))  # more than a socket's buffer
    sender.start()
    text, received = wire.receive(far)
    sender.join()
    assert text == b"text"
    assert received is not None
    assert received.dtype == np.float32
    assert received.tobytes() == sent.tobytes()
    assert received.shape == sent.shape


def test_tokens_arrive_as_one_row(pair: Pair) -> None:
    wire.send(pair[0], b"", np.array([3, 49151], dtype=np.int64))
    _, received = wire.receive(pair[1])
    assert received is not None
    assert received.tolist() == [[3, 49151]]


def test_a_text_needs_no_numbers(pair: Pair) -> None:
    wire.send(pair[0], b"hello")
    assert wire.receive(pair[1]) == (b"hello", None)


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 13, b"\0\0\0\0f\xff\xff\xff\xff\0\0\1\0"]
)
def test_what_is_no_frame_is_refused_before_memory_is_taken(pair: Pair, noise: bytes) -> None:
    pair[0].sendall(noise)
    with pytest.raises(ConnectionError, match="no frame"):
        wire.receive(pair[1])


def test_an_end_in_the_middle_is_told(pair: Pair) -> None:
    pair[0].sendall(b"\0\0")
    pair[0].close()
    with pytest.raises(ConnectionError, match="closed"):
        wire.receive(pair[1])
