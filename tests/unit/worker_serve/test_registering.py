"""A worker that Dynamo does not register ends, and one that it registers does not, ready or not."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from disagg_worker.serve.registering import registered_or_ended, served


class SystemServer(HTTPServer):
    """Simulates what Dynamo's system server says of its process."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.endpoints: dict[str, str] = {}
        self.silent = False
        self.asked = 0


class Answer(BaseHTTPRequestHandler):
    """Answers every request as /health does while something is not ready."""

    server: SystemServer

    def do_GET(self) -> None:
        self.server.asked += 1
        body = json.dumps({"status": "notready", "endpoints": self.server.endpoints}).encode()
        if self.server.silent:
            body = b"nothing of that kind"
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def system() -> Iterator[SystemServer]:
    server = SystemServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def guarded(system: SystemServer, *, answers: int) -> list[int]:
    """Return with which exit codes the process was ended."""
    codes: list[int] = []
    await registered_or_ended(system.server_port, "generate", answers=answers, pause=0.05, end=codes.append)
    return codes


async def test_a_worker_that_is_registered_goes_on_though_it_is_not_ready(system: SystemServer) -> None:
    system.endpoints = {"generate": "notready"}
    assert await guarded(system, answers=1) == []
    assert system.asked == 1


async def test_a_worker_that_is_not_registered_ends_and_says_why(
    system: SystemServer, caplog: pytest.LogCaptureFixture
) -> None:
    system.endpoints = {"worker_kv_query_source": "ready"}
    assert await guarded(system, answers=3) == [1]
    assert system.asked == 3
    assert "Dynamo has not registered this worker" in caplog.text


async def test_a_registration_that_takes_a_moment_is_waited_for(system: SystemServer) -> None:
    threading.Timer(0.5, lambda: system.endpoints.update(generate="notready")).start()
    assert await guarded(system, answers=600) == []
    assert system.asked > 1


async def test_a_worker_whose_system_server_is_elsewhere_or_silent_goes_on(system: SystemServer) -> None:
    system.silent = True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guarded(system, answers=1), timeout=3)
    assert system.asked > 0


def test_a_process_names_what_it_serves_or_nothing(system: SystemServer) -> None:
    system.endpoints = {"generate": "ready"}
    assert served(system.server_port) == {"generate"}
    assert served(1) is None
