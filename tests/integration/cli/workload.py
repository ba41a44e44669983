"""What a cluster without nodes lacks: pods of a deployment, and SIMULATED processes that pods serve from."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from integration.operator.control_plane import Api, Object, eventually

_NOBODY = ("192.0.2.1", 9)
"""An address for documentation; no packet is sent there."""


def own_address() -> str:
    """Return an address of this machine that the API server sends requests on to: none of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_NOBODY)
        return str(probe.getsockname()[0])


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve from `own_address` for a while, and yield the port."""
    server = ThreadingHTTPServer((own_address(), 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def answering(document: Object) -> type[BaseHTTPRequestHandler]:
    """Return a handler that answers every request with a JSON document."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Answering


def make_pod(api: Api, namespace: str, role: str, agent_port: int = 9095, **spec: object) -> str:
    """Create a pod of the deployment demo that is ready, and return its name."""
    eventually(lambda: api.find("serviceaccounts", namespace), "the namespace has a ServiceAccount")
    name = f"demo-{role}-r-0"
    labels = {"disagg.dev/deployment": "demo", "disagg.dev/role": role, "disagg.dev/revision": "r"}
    agent = {
        "name": "transport-agent",
        "image": "agent",
        "restartPolicy": "Always",
        "ports": [{"name": "agent", "containerPort": agent_port}],
    }
    worker = {"name": "worker", "image": "worker", "resources": {"limits": {"vpc.amazonaws.com/efa": "4"}}}
    body = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"initContainers": [agent], "containers": [worker], **spec},
    }
    api.create("pods", namespace, body)
    address = own_address()
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")],
    }
    api.patch("pods", namespace, name, {"status": status}, "/status")
    return name
