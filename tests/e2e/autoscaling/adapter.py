"""STAND-IN for prometheus-adapter, in tests only: an aggregated API server that is really one.

It serves ``external.metrics.k8s.io/v1beta1`` over TLS, to whoever holds a certificate of the front proxy: to
the API server, which passes requests on. A metric is the sum of the samples of that name that the frontend of
a deployment shows at that moment; the label ``disagg_dev_deployment`` tells which. The frontend is a real one
of Dynamo, and there is no Prometheus. It runs in a pod, with the standard library only.
"""

import json
import os
import ssl
import sys
import urllib.request
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

GROUP_VERSION = "external.metrics.k8s.io/v1beta1"
LABEL = "disagg_dev_deployment"
PORT = 6443
FRONTEND_PORT = 8000
TLS = "/tls"


def total(exposition: str, metric: str) -> float:
    """Return the sum of a metric's samples in Prometheus' text form."""
    lines = (line for line in exposition.splitlines() if not line.startswith("#"))
    samples = (line.rpartition(" ") for line in lines)
    return sum(float(value) for name, _, value in samples if name.partition("{")[0] == metric)


def measured(namespace: str, metric: str, deployment: str) -> dict[str, object]:
    """Return an ExternalMetricValueList with what the frontend of a deployment shows now."""
    url = f"http://{deployment}-frontend.{namespace}.svc:{FRONTEND_PORT}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        value = total(answer.read().decode(), metric)
    item = {
        "metricName": metric,
        "metricLabels": {LABEL: deployment},
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "value": f"{round(value * 1000)}m",
    }
    return {"kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": [item]}


class Handler(BaseHTTPRequestHandler):
    """Answers discovery, and one metric of one namespace at a time."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a request that the API server passes on."""
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if url.path.rstrip("/") == f"/apis/{GROUP_VERSION}":
            kind = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION}
            self._answer(HTTPStatus.OK, {**kind, "resources": []})
            return
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        label, _, deployment = selector.partition("=")
        if parts[:4] != ["apis", *GROUP_VERSION.split("/"), "namespaces"] or label != LABEL:
            self._answer(HTTPStatus.NOT_FOUND, {"kind": "Status", "status": "Failure", "code": 404})
            return
        try:
            self._answer(HTTPStatus.OK, measured(parts[4], parts[5], deployment))
        except OSError as error:
            message = f"the frontend of {deployment} does not answer: {error}"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"kind": "Status", "code": 503, "message": message})

    def _answer(self, status: HTTPStatus, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Write one line for each request to the pod's log."""
        sys.stdout.write(f"{format % args}\n")
        sys.stdout.flush()


class Server(ThreadingHTTPServer):
    """A server that makes one line of a connection that broke off."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as the base's
        """Write the reason to the pod's log."""
        sys.stdout.write(f"{client_address}: {sys.exception()!r}\n")
        sys.stdout.flush()


def main() -> None:
    """Serve until ended."""
    server = Server(("", PORT), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{TLS}/tls.crt", f"{TLS}/tls.key")
    # Whoever else asks is no API server, and has no say who the user is.
    context.load_verify_locations(cadata=os.environ["FRONT_PROXY_CA"])
    context.verify_mode = ssl.CERT_REQUIRED
    # Each connection shakes hands in its own thread: one that never does, such as a probe, stops nobody.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
