"""RDMA devices of simulated /sys trees."""

import os
import shutil
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disagg_worker.agent.devices import device_files, read_devices
from disagg_worker.agent.evidence import Device
from disagg_worker.agent.reading import Unread
from unit.worker_agent.simulated import EFA_COUNTERS, MELLANOX, MLX5_COUNTERS, Node, write

Netlink = Mapping[tuple[str, int], Mapping[str, int]]


def silent() -> Netlink:
    raise OSError(93, "Protocol not supported")


def read(node: Node, files: tuple[str, ...] | None = None) -> tuple[tuple[Device, ...], Unread]:
    unread = Unread()
    return read_devices(node.sys, files, silent, unread), unread


def test_a_node_without_rdma_has_no_devices_and_nothing_unreadable(node: Node) -> None:
    devices, unread = read(node)
    assert devices == ()
    assert unread.notes() == ()


def test_counters_of_efa_are_read_and_move(node: Node) -> None:
    port = node.device("rdmap40s0", uverbs=0, hw_counters=EFA_COUNTERS)
    (before,), unread = read(node)
    write(port / "hw_counters" / "rdma_read_bytes", 4_000_300)
    write(port / "hw_counters" / "rx_bytes", 4_002_000)
    (after,), _ = read(node)
    assert before.kind == "efa"
    assert (before.name, before.port, before.state, before.link_layer) == (
        "rdmap40s0", 1, "ACTIVE", "Unspecified",
    )  # fmt: skip
    assert after.counters["rdma_read_bytes"] - before.counters["rdma_read_bytes"] == 4_000_000
    assert after.counters["rx_bytes"] - before.counters["rx_bytes"] == 4_000_000
    assert after.counters["tx_bytes"] == before.counters["tx_bytes"] == 1000
    assert "lifespan" not in before.counters
    assert unread.notes() == ()


def test_counters_that_go_backwards_are_told_as_they_are(node: Node) -> None:
    port = node.device("rdmap40s0", uverbs=0, hw_counters=EFA_COUNTERS)
    write(port / "hw_counters" / "tx_bytes", 0)
    ((device,), _) = read(node)
    assert device.counters["tx_bytes"] == 0


def test_words_of_infiniband_become_bytes_and_stay_as_they_are(node: Node) -> None:
    node.device(
        "mlx5_0", uverbs=3, vendor=MELLANOX, link_layer="InfiniBand", counters=MLX5_COUNTERS,
        hw_counters={"out_of_sequence": 7},
    )  # fmt: skip
    ((device,), _) = read(node)
    assert device.kind == "mlx5"
    assert device.counters == MLX5_COUNTERS | {"out_of_sequence": 7, "tx_bytes": 1000, "rx_bytes": 2000}


def test_a_device_that_vanishes_is_gone_without_an_error(node: Node) -> None:
    for number in range(4):
        node.device(f"rdmap{number}s0", uverbs=number, hw_counters=EFA_COUNTERS)
    assert len(read(node)[0]) == 4
    shutil.rmtree(node.sys / "class" / "infiniband" / "rdmap2s0")
    devices, _ = read(node)
    assert [device.name for device in devices] == ["rdmap0s0", "rdmap1s0", "rdmap3s0"]


def test_a_device_without_ports_is_unreadable_not_absent(node: Node) -> None:
    node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS)
    shutil.rmtree(node.sys / "class" / "infiniband" / "rdmap0s0" / "ports")
    devices, unread = read(node)
    assert devices == ()
    assert [note.what for note in unread.notes()] == ["device rdmap0s0"]


def test_devices_that_the_engine_was_given_are_marked(node: Node) -> None:
    node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS)
    node.device("rdmap1s0", uverbs=1, hw_counters=EFA_COUNTERS)
    devices, _ = read(node, ("/dev/infiniband/uverbs1",))
    assert [device.given for device in devices] == [False, True]
    assert [device.given for device in read(node, None)[0]] == [None, None]


def test_device_files_are_those_of_the_engine_s_container(node: Node) -> None:
    engine = node.process(7)
    (engine / "root" / "dev" / "infiniband").mkdir(parents=True)
    (engine / "root" / "dev" / "infiniband" / "uverbs2").touch()
    assert device_files([engine / "root"], Unread()) == ("/dev/infiniband/uverbs2",)
    assert device_files([node.process(8) / "root"], Unread()) == ()
    assert device_files([], Unread()) is None


@pytest.mark.parametrize("value", ["N/A (no PMA)", "", "-5", "12 34", "9" * 40, "\u0664\u0662", "0x10"])
def test_a_counter_that_holds_no_number_is_unreadable(node: Node, value: str) -> None:
    node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS | {"tx_bytes": value})
    (device,), unread = read(node)
    assert "tx_bytes" not in device.counters
    assert device.counters["rx_bytes"] == 2000
    assert "counter tx_bytes of rdmap0s0" in [note.what for note in unread.notes()]


def test_counters_that_a_pod_s_sys_hides_come_over_netlink(node: Node) -> None:
    node.device("rdmap0s0", uverbs=0)
    devices = read_devices(node.sys, None, lambda: {("rdmap0s0", 1): {"tx_bytes": 5}}, unread := Unread())
    assert devices[0].counters == {"tx_bytes": 5}
    assert unread.notes() == ()


def test_counters_that_are_hidden_everywhere_are_unreadable_with_a_remedy(node: Node) -> None:
    node.device("mlx5_0", uverbs=0, vendor=MELLANOX, link_layer="InfiniBand")
    (device,), unread = read(node)
    assert device.counters == {}
    whats = {note.what: note.why for note in unread.notes()}
    assert whats["counters over RDMA netlink"] == "protocol not supported"
    assert "DISAGG_AGENT_SYS_ROOT" in whats["counters of mlx5_0"]


def test_without_a_vendor_the_name_tells_the_kind(node: Node) -> None:
    node.device("rdmap0s0", uverbs=0, vendor="", hw_counters=EFA_COUNTERS)
    node.device("mlx5_9", uverbs=1, vendor="", link_layer="Ethernet", hw_counters=EFA_COUNTERS)
    node.device("irdma0", uverbs=2, vendor="0x8086", link_layer="Ethernet", hw_counters=EFA_COUNTERS)
    assert {device.name: device.kind for device in read(node)[0]} == {
        "rdmap0s0": "efa", "mlx5_9": "mlx5", "irdma0": "other",
    }  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), name=st.sampled_from(["state", "link_layer", "hw_counters/tx_bytes"]))
def test_whatever_a_file_holds_the_device_is_told(node: Node, content: bytes, name: str) -> None:
    shutil.rmtree(node.sys / "class")
    port = node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS)
    (port / name).write_bytes(content)
    (device,), _ = read(node)
    assert device.name == "rdmap0s0"
    assert all(isinstance(value, int) and value >= 0 for value in device.counters.values())


def test_a_counter_that_is_a_directory_or_a_pipe_is_unreadable_at_once(node: Node) -> None:
    port = node.device("rdmap0s0", uverbs=0, hw_counters=EFA_COUNTERS)
    (port / "hw_counters" / "odd").mkdir()
    os.mkfifo(port / "hw_counters" / "pipe")
    (_,), unread = read(node)
    assert {note.why for note in unread.notes()} == {"not a regular file"}
