"""What a cluster without nodes lacks: pods of a deployment, and SIMULATED processes that pods serve from."""

import fcntl
import json
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from integration.operator.control_plane import Api, Object, eventually
from testcluster.controlplane import ControlPlane

_SIOCGIFADDR = 0x8915
"""Asks the kernel for the address of an interface; see netdevice(7)."""


def own_address() -> str:
    """Return an address of this machine that the API server sends requests on to: none of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            # An interface without an address of version 4 refuses.
            with suppress(OSError):
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                address = ip_address(answer[20:24])
                if not address.is_loopback and not address.is_link_local:
                    return str(address)
    raise AssertionError("this machine has no address but that of loopback")


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve from `own_address` for a while, and yield the port."""
    server = ThreadingHTTPServer((own_address(), 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
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
        "containerStatuses": [
            {
                **{"name": "worker", "image": "worker", "imageID": "", "ready": True, "restartCount": 0},
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
        ],
    }
    api.patch("pods", namespace, name, {"status": status}, "/status")
    return name


class Kubelet:
    """STAND-IN for a node's kubelet: answers the API server's requests for logs."""

    def __init__(self, plane: ControlPlane) -> None:
        """Make one; `serve` it.

        Args:
            plane: whose API server it answers.
        """
        self.logs: dict[str, list[str]] = {}
        """Lines by the name of the pod, each with its time."""
        self.asked: list[str] = []
        self._identity = plane.authority.issue("simulated-kubelet", "system:node:a", hosts=[own_address()])

    @contextmanager
    def serve(self, api: Api) -> Iterator[str]:
        """Serve for a while, and yield the name of the node."""
        kubelet, name = self, f"node-{secrets.token_hex(4)}"

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kubelet.asked.append(self.path)
                asked = urlsplit(self.path)
                query = parse_qs(asked.query)
                lines = kubelet.logs.get(asked.path.split("/")[3], [])
                if since := query.get("sinceTime"):
                    lines = [line for line in lines if line.split()[0][:19] >= since[0][:19]]
                stamped = "timestamps" in query
                body = "".join(f"{line if stamped else line.partition(' ')[2]}\n" for line in lines).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._identity.certificate, self._identity.key)
        with serving(Answering, context) as port:
            node = {
                "metadata": {"name": name},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": own_address()}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                },
            }
            api.http.post("/api/v1/nodes", json=node).raise_for_status()
            try:
                yield name
            finally:
                api.http.delete(f"/api/v1/nodes/{name}").raise_for_status()
