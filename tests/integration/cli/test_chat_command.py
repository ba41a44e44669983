"""``kubectl disagg chat`` through a real API server's proxy, to a SIMULATED frontend."""

import json
import os
import pty
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from integration.cli.program import Program
from integration.cli.workload import Kubelet, make_pod, own_address, serving
from integration.operator.control_plane import Api, Object, eventually
from testcluster.fixtures import ApiServer

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(240)]


PIECE = 'data: {"choices": [{"delta": {"content": "One "}}]}\n\n'
BROKEN = {
    "list": (PIECE, "data: []\n\n"),
    "null": (PIECE, "data: null\n\n"),
    "number": (PIECE, 'data: {"choices": [{"delta": {"content": 3}}]}\n\n'),
    "deep": (PIECE, f"data: {'[' * 100_000}\n\n"),
    "ends": (PIECE,),
}
"""Answers that are none, by the question."""
OBEYED = "a\x1b[2Jb\x1b]52;c;aGk=\x07c"
"""Clears a screen and writes to the clipboard."""
SILENT = {"silent": "", "falls silent": PIECE}
"""What comes before nothing more does, by the question."""


def speaking(received: list[Object]) -> type[BaseHTTPRequestHandler]:
    """Return a frontend that answers in three pieces, or that no worker is ready."""

    class Frontend(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append(body)
            asked = body["messages"][-1]["content"]
            if asked == "refuse":
                return self._refuse()
            if asked == "escape":
                escaping = json.dumps({"choices": [{"delta": {"content": OBEYED}}]})
                return self._send(200, f"data: {escaping}\n\n", "data: [DONE]\n\n")
            if asked in BROKEN:
                return self._send(200, *BROKEN[asked])
            if asked in SILENT:
                return self._fall_silent(SILENT[asked])
            events: list[Object] = [
                *({"choices": [{"delta": {"content": piece}}]} for piece in ("One ", "two ", "three.")),
                {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 3}},
            ]
            pieces = [f"data: {text}\n\n" for text in (*map(json.dumps, events), "[DONE]")]
            return self._send(200, *pieces)

        def _refuse(self) -> None:
            self._send(503, '{"error": {"message": "no worker is ready"}}')

        def _fall_silent(self, before: str) -> None:
            """Promise more than comes."""
            if before:
                self.send_response(200)
                self.send_header("Content-Length", "10000")
                self.end_headers()
                self.wfile.write(before.encode())
                self.wfile.flush()
            # Until the other side has closed.
            self.rfile.read(1)

        def _send(self, status: int, *pieces: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len("".join(pieces))))
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece.encode())
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Frontend


def make_service(api: Api, namespace: str, node: str, port: int) -> None:
    """Create the frontend's Service and a pod of it, and wait until the API server sends requests on."""
    # Pods on no node are endpoints of no Service.
    make_pod(api, namespace, "frontend", nodeName=node)
    selector = {"disagg.dev/deployment": "demo", "disagg.dev/role": "frontend"}
    spec = {"selector": selector, "ports": [{"name": "http", "port": 8000, "targetPort": port}]}
    api.create("services", namespace, {"metadata": {"name": "demo-frontend"}, "spec": spec})
    path = api.path("services", namespace, "demo-frontend:8000") + "/proxy/"
    # The frontend knows no GET, and says so.
    eventually(
        lambda: api.http.get(path).status_code == httpx.codes.NOT_IMPLEMENTED, "the frontend is reached"
    )


def test_an_answer_comes_through_the_api_servers_proxy_or_from_an_address(
    api: Api, apiserver: ApiServer, disagg: Program, namespace: str
) -> None:
    received: list[Object] = []
    with serving(speaking(received)) as port, Kubelet(apiserver.plane).serve(api) as node:
        make_service(api, namespace, node, port)
        proxied = disagg("chat", "demo", "Count to three.", "--max-tokens", "9")
        assert proxied.code == 0, proxied.complaint
        assert proxied.output == "One two three.\n"
        assert "TTFT" in proxied.complaint
        assert "3 tokens in" in proxied.complaint
        assert (received[0]["model"], received[0]["max_tokens"], received[0]["stream"]) == ("m", 9, True)
        direct = disagg("chat", "demo", "-o", "json", "--url", f"http://{own_address()}:{port}")
        told = json.loads(direct.output)
        assert (told["text"], told["tokens"], told["promptTokens"]) == ("One two three.", 3, 4)
        refused = disagg("chat", "demo", "refuse")
    assert (refused.code, refused.output) == (3, "")
    assert (
        "the frontend did not answer (no worker is ready). `kubectl disagg status demo --namespace "
        in refused.complaint
    )


def test_who_is_to_blame_for_a_broken_answer_is_told_without_a_stack_trace(
    api: Api, apiserver: ApiServer, disagg: Program, namespace: str
) -> None:
    received: list[Object] = []
    with serving(speaking(received)) as port, Kubelet(apiserver.plane).serve(api) as node:
        make_service(api, namespace, node, port)
        url = f"http://{own_address()}:{port}"
        for question in BROKEN:
            # Alternately by both ways, which share what reads the answer.
            way = ("--url", url) if len(question) % 2 else ()
            broken = disagg("chat", "demo", question, *way)
            assert (broken.code, broken.output) == (3, "One \n"), broken.complaint
            assert "the frontend broke off: " in broken.complaint
            assert f"`kubectl disagg status demo --namespace {namespace}`" in broken.complaint
        for question in SILENT:
            for way in ((), ("--url", url)):
                silent = disagg("chat", "demo", question, "--timeout", "2s", *way)
                assert silent.code == 3
                assert "the frontend was silent for 2 s" in silent.complaint
                assert "API server" not in silent.complaint.partition("Where the API server")[0]
        unheard = disagg.start("chat", "demo", "--url", url)
        assert unheard.stdout is not None
        unheard.stdout.close()
        ended = disagg.finish(unheard)
    assert (ended.code, ended.complaint) == (1, "")


def test_a_model_cannot_move_a_terminals_cursor_and_a_pipe_gets_what_it_said(disagg: Program) -> None:
    with serving(speaking([])) as port:
        ask = ("chat", "demo", "escape", "--url", f"http://{own_address()}:{port}")
        assert disagg(*ask).output == f"{OBEYED}\n"
        controller, terminal = pty.openpty()
        asking = disagg.start(*ask, output=terminal)
        os.close(terminal)
        shown = os.read(controller, 1024)
        ended = disagg.finish(asking)
        os.close(controller)
    assert (ended.code, shown.decode().strip()) == (0, "abc")


def test_who_may_not_use_the_proxy_is_told_what_to_ask_for(user: Callable[..., Program]) -> None:
    found = user({"apiGroups": ["disagg.dev"], "resources": ["disaggdeployments"], "verbs": ["get"]})(
        "chat", "demo"
    )
    assert found.code == 3
    assert "the RBAC verb 'create' on 'services/proxy'" in found.complaint
