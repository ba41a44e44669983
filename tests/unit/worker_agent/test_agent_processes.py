"""Libraries, logs and the model's configuration, out of simulated /proc trees."""

import json
import os
from pathlib import Path

import pytest

from disagg_worker.agent.evidence import Library
from disagg_worker.agent.interfaces import read_interfaces
from disagg_worker.agent.logs import MOST_LINES, evidence_lines, read_logs
from disagg_worker.agent.model import geometry, read_model
from disagg_worker.agent.processes import Running, kind_of, running, with_libraries
from disagg_worker.agent.reading import Unread
from unit.worker_agent.simulated import Node, write

PLUGIN = "/opt/dynamo/venv/lib/python3.12/site-packages/tensorrt_llm/libs/nixl/plugins/libplugin_UCX.so"
CONFIG = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}


def test_each_library_has_its_kind() -> None:
    assert {
        name: kind_of(f"/lib/{name}")
        for name in (
            "libplugin_LIBFABRIC.so", "libnixl.so", "libucp-b39b3ed9.so.0.0.0", "libuct_ib_efa.so.0.0.0",
            "libuct.so.0", "libfabric.so.1.24.0", "libefa.so.1", "libefa-rdmav34.so", "libcuda.so.550.54",
            "libmpi.so.40", "libcurl.so.4", "libplugin_host.so", "libnixl_capi.so", "libfabricated.so",
        )
    } == {
        "libplugin_LIBFABRIC.so": "nixl-plugin", "libnixl.so": "nixl", "libucp-b39b3ed9.so.0.0.0": "ucx",
        "libuct_ib_efa.so.0.0.0": "ucx-transport", "libuct.so.0": "ucx", "libfabric.so.1.24.0": "libfabric",
        "libefa.so.1": "efa", "libefa-rdmav34.so": "efa", "libcuda.so.550.54": "cuda", "libmpi.so.40": "mpi",
        "libcurl.so.4": None, "libplugin_host.so": None, "libnixl_capi.so": None, "libfabricated.so": None,
    }  # fmt: skip


def test_only_processes_with_transport_libraries_are_the_engine_s(node: Node) -> None:
    node.process(1, "pause")
    node.process(6, "bash")
    node.process(7, libraries=["/opt/my libs/libucp.so.0", PLUGIN, PLUGIN])
    unread = Unread()
    ((_, engine),) = with_libraries(running(node.proc, unread), unread)
    assert (engine.pid, engine.name) == (7, "python3")
    assert engine.libraries == (
        Library("nixl-plugin", PLUGIN),
        Library("ucx", "/opt/my libs/libucp.so.0"),
    )
    assert unread.notes() == ()


def test_the_agent_and_the_pause_process_are_no_engine(node: Node) -> None:
    node.process(1, "pause", libraries=[PLUGIN])
    node.process(os.getpid(), libraries=[PLUGIN])
    node.process(9, "pause", libraries=[PLUGIN])
    assert [each.pid for each in running(node.proc, Unread())] == [9]


def test_maps_that_may_not_be_read_are_told_with_the_reason(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = node.process(7)
    real = os.open

    def refuse(path: Path, flags: int) -> int:  # as the kernel does; root in a test may read everything
        if path == directory / "maps":
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    unread = Unread()
    assert with_libraries(running(node.proc, unread), unread) == []
    assert [(note.what, note.why) for note in unread.notes()] == [
        ("maps of pid 7 (python3)", "permission denied")
    ]


def test_a_process_that_ends_meanwhile_is_passed_over(node: Node) -> None:
    gone = node.process(7)
    candidates = running(node.proc, Unread())
    (gone / "maps").unlink()
    unread = Unread()
    assert with_libraries(candidates, unread) == []
    assert unread.notes() == ()


def test_interfaces_are_read_with_and_without_a_blank_after_the_name(node: Node) -> None:
    node.interfaces(eth0=(123, 456), lo=(7, 7))
    text = (node.proc / "net" / "dev").read_text()
    (node.proc / "net" / "dev").write_text(text + "veth1:99 1 0 0 0 0 0 0 88 1 0 0 0 0 0 0\ngarbage: x y\n")
    found = read_interfaces(node.proc, Unread())
    assert [(each.name, each.rx_bytes, each.tx_bytes) for each in found] == [
        ("eth0", 123, 456), ("lo", 7, 7), ("veth1", 99, 88),
    ]  # fmt: skip


def test_interfaces_that_cannot_be_read_are_told(node: Node) -> None:
    unread = Unread()
    assert read_interfaces(node.proc, unread) == ()
    assert unread.notes()[0].what == "network interfaces"


def test_evidence_lines_are_those_of_seed_and_ucx() -> None:
    lines = [
        "NixlTransferAgent using NIXL backend: UCX",
        "ucp_context_2 self cfg#1 rma_am(srd/rdmap40s0:1) am(srd/rdmap40s0:1 srd/rdmap62s0:1 ...)",
        "| remote memory read by ucp_get*(multi) into host memory from host |",
        "| 0..inf | software emulation | tcp/eth0 |",
        "Unsupported NIXL backend: X, fallback to UCX",
        "Backend LIBFABRIC was instantiated",
    ]
    noise = ["loading weights 3/4", "GET /health 200", "opened tmp/eth0"]
    assert evidence_lines("\n".join([*noise, *lines, *noise, *lines])) == lines


def test_of_ucx_s_tables_those_that_carry_kv_count() -> None:
    table = "| dst inter-node cfg#1 |\n| {} |\n| Range | Description | Config |\n| 0..inf | zero-copy | {} |"
    tables = [
        table.format("active message by ucp_am_send*(egr) from host memory", "tcp/eth0"),
        table.format("remote memory read by ucp_get* into cuda/GPU0 from cuda", "srd/rdmap0s0:1"),
        table.format("rendezvous data fetch into cuda/GPU0 from cuda", "cuda_ipc/cuda"),
    ]
    assert evidence_lines("\n".join(tables)) == [
        "| dst inter-node cfg#1 |",
        "| remote memory read by ucp_get* into cuda/GPU0 from cuda |",
        "| 0..inf | zero-copy | srd/rdmap0s0:1 |",
        "| rendezvous data fetch into cuda/GPU0 from cuda |",
        "| 0..inf | zero-copy | cuda_ipc/cuda |",
    ]


def test_of_many_lines_the_newest_are_kept() -> None:
    text = "\n".join(f"cfg#{number} am(tcp/eth0)" for number in range(100))
    lines = evidence_lines(text)
    assert len(lines) == MOST_LINES
    assert lines[-1].startswith("cfg#99 ")


def test_logs_are_found_among_open_files(node: Node) -> None:
    process = node.process(7)
    log = node.directory / "ucx-7.log"
    write(log, "cfg#0 am(tcp/eth0)")
    data = node.directory / "weights.bin"
    write(data, "am(tcp/eth0)")
    for number, target in ((0, "/dev/null"), (3, log), (4, data), (5, "socket:[123]"), (6, log)):
        (process / "fd" / str(number)).symlink_to(target)
    ((path, lines),) = [
        (each.path, each.lines) for each in read_logs([Running(7, "python3", process)], Unread())
    ]
    assert path == str(log)
    assert lines == ("cfg#0 am(tcp/eth0)",)


def test_both_ends_of_a_long_log_are_read(node: Node) -> None:
    process = node.process(7)
    log = node.directory / "a.log"
    log.write_text(
        "first am(srd/rdmap0s0:1)\n" + "x" * 79 + "\n" * 1 + ("y" * 79 + "\n") * 20000 + "am(tcp/eth0)\n"
    )
    (process / "fd" / "1").symlink_to(log)
    (found,) = read_logs([Running(7, "python3", process)], Unread())
    assert found.lines == ("first am(srd/rdmap0s0:1)", "am(tcp/eth0)")


def test_the_model_is_read_in_the_engine_s_root(node: Node) -> None:
    process = node.process(7)
    write(
        process / "root" / "models" / "smol" / "config.json", json.dumps(CONFIG | {"torch_dtype": "bfloat16"})
    )
    model = read_model("/models/smol", [Running(7, "python3", process)], Unread())
    assert model
    assert (model.layers, model.kv_heads, model.head_dim, model.dtype) == (30, 3, 64, "bfloat16")
    assert model.path == "/models/smol/config.json"


def test_a_repository_is_found_in_the_cache_that_the_engine_uses(node: Node) -> None:
    process = node.process(7, environment={"HF_HOME": "/cache", "HOME": "/home/x"})
    repository = process / "root" / "cache" / "hub" / "models--meta-llama--Llama-3.1-8B"
    write(repository / "refs" / "main", "bbb")
    write(repository / "snapshots" / "aaa" / "config.json", json.dumps({"num_hidden_layers": 1}))
    write(repository / "snapshots" / "bbb" / "config.json", json.dumps({"num_hidden_layers": 32}))
    model = read_model("meta-llama/Llama-3.1-8B", [Running(7, "python3", process)], Unread())
    assert model
    assert model.layers == 32


def test_latent_attention_and_nested_configurations_are_told() -> None:
    nested = {"dtype": "bfloat16", "text_config": CONFIG | {"kv_lora_rank": 512, "qk_rope_head_dim": 64}}
    model = geometry(nested, "")
    assert (model.layers, model.kv_lora_rank, model.rope_head_dim, model.dtype) == (30, 512, 64, "bfloat16")
    hybrid = geometry(CONFIG | {"layer_types": ["linear_attention"] * 3 + ["full_attention"]}, "")
    assert hybrid.layers == 1


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"text_config": 5}', "\x00\x01"])
def test_a_broken_configuration_is_told(node: Node, content: str) -> None:
    process = node.process(7)
    write(process / "root" / "m" / "config.json", content)
    unread = Unread()
    assert read_model("/m", [Running(7, "python3", process)], unread) is None
    assert unread.notes()[0].why == "/m/config.json is no model configuration"


def test_odd_values_of_a_configuration_become_unknown(node: Node) -> None:
    process = node.process(7)
    write(
        process / "root" / "m" / "config.json", '{"num_hidden_layers": "30", "num_key_value_heads": [1, 2]}'
    )
    model = read_model("/m", [Running(7, "python3", process)], Unread())
    assert model
    assert (model.layers, model.kv_heads, model.head_dim, model.dtype) == (None, None, None, None)


def test_a_model_that_no_process_has_is_told(node: Node) -> None:
    unread = Unread()
    assert read_model("/m", [Running(7, "python3", node.process(7))], unread) is None
    assert unread.notes()[0].why == "no process that has loaded a transport library has it"
    assert read_model("", [], unread) is None
    assert len(unread.notes()) == 1
