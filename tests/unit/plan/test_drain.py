"""A frontend that is to end finishes its requests first."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from disagg_operator.build.deployment import frontend_deployment
from disagg_operator.build.statefulset import worker_stateful_sets
from disagg_operator.plan import await_requests
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import planned

BUSY = """# HELP dynamo_frontend_inflight_requests Number of inflight requests
# TYPE dynamo_frontend_inflight_requests gauge
dynamo_frontend_inflight_requests{model="a b"} 2
dynamo_frontend_inflight_requests{model="c"} 1
dynamo_frontend_requests_total{model="c"} 40
"""
IDLE = BUSY.replace("} 2", "} 0").replace("} 1", "} 0")
PATH, GAUGE = "/metrics", "inflight_requests"


@contextmanager
def metrics(*answers: str) -> Iterator[tuple[int, list[str]]]:
    """Serve one answer after the other, the last for ever; yield the port and what was served."""
    served: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.append(answers[min(len(served), len(answers) - 1)])
            self.send_response(200 if self.path == PATH else 404)
            self.end_headers()
            self.wfile.write(served[-1].encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1], served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_waits_until_no_request_runs() -> None:
    with metrics(BUSY, BUSY, IDLE) as (port, served):
        await_requests.main(str(port), PATH, GAUGE, "0", "60")
    assert served == [BUSY, BUSY, IDLE]


def test_requests_that_never_end_are_waited_for_no_longer_than_asked() -> None:
    began = time.monotonic()
    with metrics(BUSY) as (port, _):
        await_requests.main(str(port), PATH, GAUGE, "0", "0.7")
    assert 0.7 <= time.monotonic() - began < 5


def test_it_waits_until_no_route_leads_to_it_though_nothing_runs() -> None:
    began = time.monotonic()
    with metrics(IDLE) as (port, served):
        await_requests.main(str(port), PATH, GAUGE, "0.3", "60")
    assert time.monotonic() - began >= 0.3
    assert len(served) == 1


@pytest.mark.parametrize(("text", "count"), [(BUSY, 3), (IDLE, 0), ("", 0), ("other_requests 3", 0)])
def test_requests_of_all_models_are_counted(text: str, count: int) -> None:
    with metrics(text) as (port, _):
        assert await_requests.running(port, PATH, GAUGE) == count


def test_a_frontend_that_does_not_answer_has_no_requests() -> None:
    assert await_requests.running(1, PATH, GAUGE) == 0
    with metrics(BUSY) as (port, _):
        assert await_requests.running(port, "/elsewhere", GAUGE) == 0


@pytest.mark.parametrize("version", builtin().runtimes["dynamo"])
def test_frontends_of_every_release_drain_within_their_grace_period(version: str) -> None:
    plan = planned(
        runtime={"engine": "trtllm", "version": version, "image": "own:1"},
        transfer={"timeoutSeconds": 120},
        frontend={"port": 8123},
    )
    pod = frontend_deployment(plan)["spec"]["template"]["spec"]
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["python3", "-c"]
    compile(command[2], "await_requests.py", "exec")
    assert command[3:] == ["8123", PATH, GAUGE, "5", "120"]
    assert pod["terminationGracePeriodSeconds"] == 150


def test_workers_drain_by_themselves() -> None:
    plan = planned()
    for role in plan.roles.values():
        for stateful_set in worker_stateful_sets(plan, role):
            assert "lifecycle" not in str(stateful_set)
