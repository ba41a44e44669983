"""Answers /evidence, /metrics and /health: a few threads at most, and nobody holds one for long."""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app

from disagg_worker.agent.evidence import Evidence, document
from disagg_worker.agent.exposition import registry_of

MOST_CONNECTIONS = 4
CONNECTION_SECONDS = 15.0
WAIT_SECONDS = 10.0
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"


class BusyError(Exception):
    """Another reading has not ended in time."""


def application(collect: Callable[[], Evidence]) -> WSGIApplication:
    """Make the WSGI application.

    Args:
        collect: Reads the evidence; called by one thread at a time.
    """
    turn = threading.Lock()

    def reading() -> Evidence:
        if not turn.acquire(timeout=WAIT_SECONDS):
            raise BusyError
        try:
            return collect()
        finally:
            turn.release()

    metrics: WSGIApplication = make_wsgi_app(registry_of(reading))

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment.get("PATH_INFO", "")
        if environment.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _reply(start, HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, "only GET is answered\n")
        try:
            if path == "/evidence":
                return _reply(start, HTTPStatus.OK, _JSON, json.dumps(document(reading())))
            if path == "/metrics":
                return metrics(environment, start)
        except BusyError:
            return _reply(
                start,
                HTTPStatus.SERVICE_UNAVAILABLE,
                _TEXT,
                f"a reading takes longer than {WAIT_SECONDS:g} s\n",
            )
        if path == "/health":
            return _reply(start, HTTPStatus.OK, _TEXT, "ok\n")
        return _reply(start, HTTPStatus.NOT_FOUND, _TEXT, "there are /evidence, /metrics and /health\n")

    return answer


def _reply(start: StartResponse, status: HTTPStatus, kind: str, text: str) -> list[bytes]:
    body = text.encode()
    start(f"{status.value} {status.phrase}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


class AgentServer(ThreadingMixIn, WSGIServer):
    """A WSGI server with `MOST_CONNECTIONS` threads; a connection beyond them is closed at once.

    Args:
        port: TCP port on every address, IPv4 and IPv6; 0 takes a free one.
        app: What answers.
    """

    daemon_threads = True
    allow_reuse_address = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(self, port: int, app: WSGIApplication) -> None:
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(("", port), _Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        """Bind to both families; without the look-up of this host's name that HTTPServer makes."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and cut a client that takes too long off."""
        end = threading.Timer(CONNECTION_SECONDS, _cut_off, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away or were cut off."""


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the agent is asked every few seconds."""


def _cut_off(request: socket.socket) -> None:
    with suppress(OSError):  # it may have ended since
        request.shutdown(socket.SHUT_RDWR)
