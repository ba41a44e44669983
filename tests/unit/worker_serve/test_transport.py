"""Transports out of UCX's protocol tables (text as UCX 1.23 wrote it)."""

from pathlib import Path

from disagg_worker.transfer.transport import TransportWatch, prepare_evidence, read_tables

CMA = """
[1.2] [vm:27768:0]  ucp_worker.c:1997 UCX INFO dst intra-node cfg#1 rma_am(tcp/lo) am(tcp/lo cma/memory)
[1.2] [vm:27768:0]   +--------+-------------+-------------------------------------------+
[1.2] [vm:27768:0]   | dst intra-node cfg#1                                             |
[1.2] [vm:27768:0]   | remote memory read by ucp_get*(multi) into host memory from host |
[1.2] [vm:27768:0]   +--------+-------------+-------------------------------------------+
[1.2] [vm:27768:0]   | Range  | Description |                  Config                   |
[1.2] [vm:27768:0]   +--------+-------------+-------------------------------------------+
[1.2] [vm:27768:0]   | 0..inf | zero-copy   | cma/memory                                |
[1.2] [vm:27768:0]   +--------+-------------+-------------------------------------------+
"""
TCP = CMA.replace("cma/memory    ", "tcp/eth0      ").replace("zero-copy", "software emulation")
TWO = CMA.replace(
    "| cma/memory                                |", "| 52% on srd/rdmap40s0:1 and 48% on srd/rdmap41s0:1 |"
)
SEND = CMA.replace("remote memory read by ucp_get*(multi)", "active message by ucp_am_send*(egr)  ")


def test_the_lanes_that_carry_reads_are_named() -> None:
    assert list(read_tables(CMA)) == ["cma/memory"]
    assert list(read_tables(TCP)) == ["tcp/eth0"]
    assert list(read_tables(TWO)) == ["srd/rdmap40s0:1+srd/rdmap41s0:1"]
    assert list(read_tables(CMA + TCP)) == ["cma/memory", "tcp/eth0"]


def test_other_tables_and_lane_lists_do_not_count() -> None:
    assert list(read_tables(SEND)) == []


def test_peers_are_told_apart_where_ucx_does(tmp_path: Path) -> None:
    log = tmp_path / "ucx.log"
    watch = TransportWatch(log)
    assert watch.of("a") == "unknown"
    log.write_text(TCP)
    assert watch.of("a") == "tcp/eth0"
    assert watch.of("b") == "tcp/eth0"
    with log.open("a") as more:
        more.write(CMA)
    assert watch.of("c") == "cma/memory"
    assert watch.of("d") == "unknown"
    watch.forget("c")
    assert watch.of("c") == "unknown"


def test_what_the_user_set_is_kept() -> None:
    environment = {"UCX_LOG_LEVEL": "debug"}
    prepare_evidence(environment)
    assert environment["UCX_LOG_LEVEL"] == "debug"
    assert environment["UCX_PROTO_INFO"] == "y"
    assert environment["UCX_LOG_FILE"].endswith("ucx-%p.log")
