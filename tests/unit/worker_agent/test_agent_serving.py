"""What the agent serves: the contract, the metrics, and its limits towards clients."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from disagg_worker.agent import serving
from disagg_worker.agent.collecting import Collector, Sources
from disagg_worker.agent.evidence import Engine, Evidence, KvRead
from disagg_worker.agent.reading import Unread
from disagg_worker.agent.serving import AgentServer, application
from disagg_worker.agent.telemetry import read_engine
from disagg_worker.metrics import WorkerMetrics
from unit.worker_agent.contract import understood
from unit.worker_agent.simulated import EFA_COUNTERS, MELLANOX, MLX5_COUNTERS, Node, write

ENGINE_METRICS = """\
# TYPE disagg_kv_read_bytes_total counter
disagg_kv_read_bytes_total{backend="UCX",transport="tcp/eth0"} 4096.0
# TYPE disagg_kv_served_bytes_total counter
disagg_kv_served_bytes_total 12.0
# TYPE agent_rx_bytes_total counter
agent_rx_bytes_total{agent_name="a"} 5
agent_rx_bytes_total{agent_name="b"} 6
agent_rx_bytes_total{agent_name="c"} NaN
agent_rx_bytes_total{agent_name="d"} +Inf
# TYPE agent_tx_bytes_total counter
agent_tx_bytes_total{agent_name="a"} 7
"""


@contextmanager
def served(collect: Callable[[], Evidence]) -> Iterator[str]:
    with AgentServer(0, application(collect)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def neighbour(text: str, status: str = "200 OK") -> Iterator[str]:
    """A process in the pod that answers every request with a text."""

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            connection.sendall(f"HTTP/1.0 {status}\r\n\r\n{text}".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    answer(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def sources(node: Node) -> Sources:
    """A pod with all kinds of evidence but NVLink; simulated."""
    node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS)
    node.device("mlx5_0", uverbs=1, vendor=MELLANOX, link_layer="InfiniBand", counters=MLX5_COUNTERS)
    node.interfaces(eth0=(10, 20))
    engine = node.process(7, libraries=["/opt/libucp.so.0", "/opt/nixl/libplugin_UCX.so"])
    write(engine / "root" / "dev" / "infiniband" / "uverbs0", "")
    write(engine / "root" / "m" / "config.json", json.dumps({"num_hidden_layers": 2}))
    write(node.directory / "ucx.log", "am(srd/rdmap0s0:1)")
    (engine / "fd" / "3").symlink_to(node.directory / "ucx.log")
    return Sources(sys=node.sys, proc=node.proc, model="/m", pod="p", namespace="n", node="w")


def test_the_evidence_is_what_the_contract_says(sources: Sources) -> None:
    with neighbour(ENGINE_METRICS) as url:
        collector = Collector(replace(sources, engine_metrics=url, nixl_metrics=url))
        with served(collector.collect) as agent:
            answer = httpx.get(f"{agent}/evidence")
    assert answer.headers["content-type"] == "application/json"
    evidence = answer.json()
    assert understood(evidence) == evidence
    assert evidence["pod"] == "p"
    assert [(each["name"], each["given"]) for each in evidence["devices"]] == [
        ("mlx5_0", False), ("rdmap0s0", True),
    ]  # fmt: skip
    assert evidence["devices"][1]["counters"]["rdma_read_bytes"] == 300
    assert evidence["deviceFiles"] == ["/dev/infiniband/uverbs0"]
    assert evidence["engine"] == {
        "kvRead": [{"backend": "UCX", "transport": "tcp/eth0", "bytes": 4096}], "kvServedBytes": 12,
    }  # fmt: skip
    assert (evidence["nixl"]["rxBytes"], evidence["nixl"]["txBytes"]) == (11, 7)
    assert evidence["logs"][0]["lines"] == ["am(srd/rdmap0s0:1)"]
    assert evidence["model"]["layers"] == 2
    assert evidence["unreadable"] == []


def test_processes_without_transport_libraries_say_nothing_of_the_engine(node: Node) -> None:
    node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS)
    beside = node.process(8, libraries=["/lib/libc.so.6"])
    write(beside / "root" / "m" / "config.json", json.dumps({"num_hidden_layers": 2}))
    evidence = Collector(Sources(sys=node.sys, proc=node.proc, model="/m")).collect()
    assert [device.given for device in evidence.devices] == [None]
    assert evidence.model is None
    assert [note.what for note in evidence.unreadable] == ["network interfaces", "config.json of model /m"]


def test_an_empty_pod_fits_the_contract_too(node: Node) -> None:
    with served(Collector(Sources(sys=node.sys, proc=node.proc)).collect) as agent:
        evidence = httpx.get(f"{agent}/evidence").json()
    assert understood(evidence) == evidence
    assert evidence["devices"] == evidence["processes"] == []


def test_the_reference_engine_s_own_metrics_are_understood() -> None:
    metrics = WorkerMetrics()
    metrics.kv_read_bytes.labels("UCX", "tcp/eth0").inc(3 << 30)
    metrics.kv_read_bytes.labels("UCX", "cma/memory").inc(5)
    metrics.kv_served_bytes.inc(7)
    server = metrics.serve(0)
    try:
        engine = read_engine(f"http://127.0.0.1:{server.server_port}/metrics", Unread())
    finally:
        server.shutdown()
        server.server_close()
    assert engine == Engine((KvRead("UCX", "tcp/eth0", 3 << 30), KvRead("UCX", "cma/memory", 5)), 7)


def test_metrics_carry_devices_interfaces_and_libraries(sources: Sources) -> None:
    with served(Collector(sources).collect) as agent:
        text = httpx.get(f"{agent}/metrics").text
    for line in (
        'disagg_kv_transport_device_bytes_total{device="rdmap0s0",direction="tx"} 1000.0',
        'disagg_kv_transport_device_bytes_total{device="mlx5_0",direction="rx"} 2000.0',
        'disagg_kv_transport_device_errors_total{counter="port_rcv_errors",device="mlx5_0"} 3.0',
        'disagg_kv_transport_interface_bytes_total{direction="tx",interface="eth0"} 20.0',
        'disagg_kv_transport_library_loaded{kind="nixl-plugin",name="libplugin_UCX.so"} 1.0',
        "disagg_kv_transport_unreadable 0.0",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("{broken", "200 OK", "http://127.0.0.1"),
        ("", "503 Service Unavailable", "answers with status 503"),
        ("", "200 OK", "no agent_rx_bytes_total there"),
    ],
)
def test_a_neighbour_that_answers_nonsense_is_a_reason(
    sources: Sources, text: str, status: str, said: str
) -> None:
    with neighbour(text, status) as url:
        nixl = Collector(replace(sources, nixl_metrics=url)).collect().nixl
    assert not nixl.available
    assert said in nixl.reason


@pytest.mark.parametrize(
    "url", ["https://x/metrics", "nonsense", "http://127.0.0.1:1/metrics", "http://[::1"]
)
def test_an_address_that_cannot_be_asked_is_told(sources: Sources, url: str) -> None:
    evidence = Collector(replace(sources, engine_metrics=url)).collect()
    assert evidence.engine is None
    assert [note.what for note in evidence.unreadable] == ["metrics of the engine"]


def test_other_paths_and_methods_are_answered_with_what_there_is(sources: Sources) -> None:
    with served(Collector(sources).collect) as agent:
        assert httpx.get(f"{agent}/health").text == "ok\n"
        assert httpx.get(f"{agent}/").status_code == 404
        assert httpx.post(f"{agent}/evidence").status_code == 405


def test_a_reading_that_hangs_makes_others_wait_a_bounded_time(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "WAIT_SECONDS", 0.2)
    going, release = threading.Event(), threading.Event()
    collect = Collector(sources).collect

    def slow() -> Evidence:
        going.set()
        release.wait(20)
        return collect()

    with served(slow) as agent:
        first = threading.Thread(target=lambda: httpx.get(f"{agent}/evidence", timeout=20))
        first.start()
        going.wait(20)
        assert httpx.get(f"{agent}/evidence").status_code == 503
        assert httpx.get(f"{agent}/metrics").status_code == 503
        assert httpx.get(f"{agent}/health").status_code == 200
        release.set()
        first.join()


def test_clients_that_say_nothing_are_cut_off_and_hold_few_places(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.5)
    with served(Collector(sources).collect) as agent:
        port = httpx.URL(agent).port
        assert port
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(serving.MOST_CONNECTIONS + 2)]
        try:
            ends = [_ended(each) for each in idle]
        finally:
            for each in idle:
                each.close()
        assert all(ends)
        deadline = time.monotonic() + 10
        while True:
            try:
                assert httpx.get(f"{agent}/health").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline


def _ended(connection: socket.socket) -> bool:
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
