"""A worker that Dynamo does not register ends, and one that it registers does not, ready or not."""

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
        self.asked = 0


class Answer(BaseHTTPRequestHandler):
    """Answers every request as /health does while something is not ready."""

    server: SystemServer

    def do_GET(self) -> None:
        self.server.asked += 1
        body = json.dumps({"status": "notready", "endpoints": self.server.endpoints}).encode()
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


async def test_a_worker_that_is_registered_goes_on_though_it_is_not_ready(system: SystemServer) -> None:
    system.endpoints = {"generate": "notready"}
    codes: list[int] = []
    await registered_or_ended(system.server_port, "generate", seconds=0, end=codes.append)
    assert (codes, system.asked) == ([], 1)


async def test_a_worker_that_is_not_registered_ends_and_says_why(
    system: SystemServer, caplog: pytest.LogCaptureFixture
) -> None:
    system.endpoints = {"worker_kv_query_source": "ready"}
    codes: list[int] = []
    await registered_or_ended(system.server_port, "generate", seconds=0, end=codes.append)
    assert codes == [1]
    assert "Dynamo has not registered this worker" in caplog.text


async def test_a_registration_that_takes_a_moment_is_waited_for(system: SystemServer) -> None:
    codes: list[int] = []
    threading.Timer(0.5, lambda: system.endpoints.update(generate="notready")).start()
    await registered_or_ended(system.server_port, "generate", seconds=30, end=codes.append)
    assert codes == []
    assert system.asked > 1


def test_a_process_that_is_silent_serves_nothing(system: SystemServer) -> None:
    port = system.server_port
    system.endpoints = {"generate": "ready"}
    assert served(port) == {"generate"}
    assert served(1) == set()
