"""A pod that is to end finishes its requests first."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from disagg_operator.build.deployment import frontend_deployment
from disagg_operator.build.statefulset import worker_stateful_sets
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.model import Plan
from disagg_operator.plan.programs import await_requests
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


def test_a_pod_that_does_not_answer_has_nothing_to_finish() -> None:
    assert await_requests.running(1, PATH, GAUGE) is None
    await_requests.main("1", PATH, GAUGE, "0", "60", "60")
    with metrics(BUSY) as (port, _):
        assert await_requests.running(port, "/elsewhere", GAUGE) is None


def test_what_is_kept_for_a_while_is_kept_after_the_last_request() -> None:
    began = time.monotonic()
    with metrics(IDLE, BUSY, IDLE) as (port, served):
        await_requests.main(str(port), PATH, GAUGE, "0", "60", "0.8")
    assert time.monotonic() - began >= 0.8
    # It was quiet at first, and then again for as long as is asked.
    assert served[:2] == [IDLE, BUSY]
    assert len(served) >= 4


def trtllm(version: str | None = None, **spec: Any) -> Plan:
    return planned(
        runtime={"engine": "trtllm", "image": "own:1", **({"version": version} if version else {})},
        transfer={"timeoutSeconds": 120},
        drain={"requestSeconds": 400},
        **spec,
    )


def pre_stop(pod: Any) -> list[str]:
    """Return the arguments of the program that a pod runs before it is asked to end."""
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["python3", "-c"]
    compile(command[2], "await_requests.py", "exec")
    arguments: list[str] = command[3:]
    return arguments


def worker_pod(plan: Plan, role: str) -> Any:
    return worker_stateful_sets(plan, plan.roles[role])[0]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", builtin().runtimes["dynamo"])
def test_frontends_of_every_release_drain_within_their_grace_period(version: str) -> None:
    pod = frontend_deployment(trtllm(version, frontend={"port": 8123}))["spec"]["template"]["spec"]
    assert pre_stop(pod) == ["8123", PATH, GAUGE, "5", "400"]
    assert pod["terminationGracePeriodSeconds"] == 30 + 5 + 400 + 120


def test_decode_finishes_its_streams_and_prefill_outlasts_the_transfers_that_nobody_can_see() -> None:
    plan = trtllm()
    decode, prefill = worker_pod(plan, "decode"), worker_pod(plan, "prefill")
    assert pre_stop(decode) == ["9090", PATH, GAUGE, "3", "400"]
    assert pre_stop(prefill) == ["9090", PATH, GAUGE, "3", "400", "120"]
    for pod in (decode, prefill):
        assert pod["terminationGracePeriodSeconds"] == 30 + 3 + 400 + 120


def test_the_reference_engine_itself_waits_for_the_readers_of_its_prefill() -> None:
    plan = planned(
        "local",
        model={"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
        runtime={"engine": "reference"},
        prefill={},
        decode={},
        transfer={"timeoutSeconds": 20},
        drain={"requestSeconds": 100},
    )
    assert pre_stop(worker_pod(plan, "prefill"))[3:] == ["3", "100"]
    variables = {each.name: each.value for each in plan.roles["prefill"].pod.environment}
    assert variables["DYN_PREFILL_DRAIN_TIMEOUT_S"] == "25"
    assert variables["DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT"] == "125"


def test_with_etcd_a_worker_is_found_until_it_is_asked_to_end_and_then_serves_for_a_while() -> None:
    plan = trtllm(discovery={"backend": "etcd"})
    found = {}
    for role in ("prefill", "decode"):
        pod = worker_pod(plan, role)
        assert "lifecycle" not in pod["containers"][0], "waiting for it to be idle would never end"
        variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        found[role] = variables["DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS"]
        assert pod["terminationGracePeriodSeconds"] >= int(found[role])
    assert found == {"prefill": "120", "decode": "400"}


def test_every_wait_is_explained() -> None:
    told = {
        (component, each.name): each
        for each in explained(trtllm())
        if each.kind == "drain"
        for component in each.components
    }
    for component in ("prefill", "decode", "frontend"):
        assert told[component, "finishes requests for"].value == "400 s"
        assert told[component, "terminationGracePeriodSeconds"].reason
    assert told["prefill", "then keeps KV cache for"].value == "120 s"
    assert ("decode", "then keeps KV cache for") not in told
