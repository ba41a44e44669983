"""Findings in logs: lines quoted from sources, and what NIXL 1.5.1 with UCX 1.23 and libfabric 2.6 printed.

The files in logs/ were printed by two agents, of which one read 8 MiB from the other, on one machine without
RDMA devices: over UCX with UCX_TLS=tcp, with UCX's own choice (cma), and with UCX_TLS=srd,tcp, which has no
srd; over LIBFABRIC with its tcp provider; and with a LIBFABRIC plugin whose libraries are missing. Those of
GPUs are of two H100s on one host (`make bench-gpu-transport`): UCX as it is, and with UCX_TLS=tcp,cuda_copy.
"""

from pathlib import Path

import pytest

from disagg_operator.api.transport import Transport
from disagg_operator.verify.logs import findings, merged, of_lanes
from disagg_worker.agent.logs import evidence_lines

LOGS = Path(__file__).parent / "logs"

# NVIDIA Dynamo documentation, "KV Cache Transfer in TensorRT-LLM", section "Verifying EFA is Active".
DYNAMO_EFA = """\
NixlTransferAgent using NIXL backend: UCX
ucp_context_2 self cfg#1 rma_am(srd/rdmap40s0:1) am(srd/rdmap40s0:1 srd/rdmap62s0:1 ...)
NixlTransferAgent mAddress: 100.x.x.x:32939
"""


def of(name: str) -> str:
    return (LOGS / name).read_text()


def test_the_lines_that_dynamo_tells_to_look_for_name_srd_and_its_devices() -> None:
    found = findings(DYNAMO_EFA)
    assert (found.backend, found.named) == ("UCX", Transport.UCX_SRD)
    assert found.srd_devices == {"rdmap40s0", "rdmap62s0"}
    assert found.carried is Transport.UNKNOWN, "a list of lanes is no table"
    assert "NixlTransferAgent using NIXL backend: UCX" in found.lines


def test_ucx_over_tcp_as_printed() -> None:
    found = findings(of("ucx-tcp-reader.log"))
    assert (found.backend, found.carried) == ("UCX", Transport.UCX_TCP)
    assert set(found.kv_lanes) == {"tcp/lo", "tcp/eth0"}
    assert found.emulated
    assert found.faults == ()
    assert any("software emulation" in line for line in found.lines)


def test_ucx_within_a_host_as_printed_is_shared_memory_though_lanes_say_tcp() -> None:
    found = findings(of("ucx-cma-reader.log"))
    assert found.carried is found.named is Transport.SHARED_MEMORY
    assert found.kv_lanes == ("cma/memory",)
    assert of_lanes(found.other_lanes) is Transport.UCX_TCP


@pytest.mark.parametrize(
    ("name", "transport", "lanes", "emulated"),
    [
        ("ucx-cuda-ipc-reader.log", Transport.NVLINK, ("cuda_ipc/cuda",), False),
        ("ucx-gpus-tcp-reader.log", Transport.UCX_TCP, ("tcp/eth0",), True),
    ],
)
def test_between_gpus_only_tables_of_gpu_memory_count(
    name: str, transport: Transport, lanes: tuple[str, ...], emulated: bool
) -> None:
    whole, sent = findings(of(name)), findings("\n".join(evidence_lines(of(name))))
    assert (whole.carried, whole.kv_lanes, whole.emulated) == (transport, lanes, emulated)
    assert (sent.carried, sent.kv_lanes, sent.emulated) == (transport, lanes, emulated), "what an agent keeps"


def test_a_lane_that_ucx_lacks_as_printed_is_a_fault() -> None:
    found = findings(of("ucx-srd-missing.log"))
    assert [fault.reason for fault in found.faults] == ["LaneUnavailable"]
    assert found.faults[0].says.startswith("UCX has no srd here")
    assert found.named is Transport.UCX_TCP


@pytest.mark.parametrize("name", ["libfabric-tcp-reader.log", "libfabric-tcp-source.log"])
def test_libfabric_over_tcp_as_printed(name: str) -> None:
    found = findings(of(name))
    assert found.provider == "tcp"
    assert found.named is Transport.LIBFABRIC_TCP


def test_libfabric_over_efa_is_told_by_the_same_line() -> None:
    found = findings(of("libfabric-tcp-reader.log").replace("provider=tcp", "provider=efa"))
    assert found.named is Transport.LIBFABRIC_EFA


def test_a_plugin_that_cannot_be_loaded_as_printed() -> None:
    found = findings(of("libfabric-not-loadable.log"))
    assert [fault.reason for fault in found.faults] == ["PluginNotLoadable", "BackendUnavailable"]
    assert "libcudart.so.13: cannot open shared object file" in found.faults[0].says


@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.iterdir()))
def test_an_agents_selection_of_lines_tells_the_same(name: str) -> None:
    """An agent sends neither borders nor lines that say nothing."""
    text = of(name)
    kept = [line for line in text.splitlines() if "+--" not in line and "Loading static" not in line]
    whole, part = findings(text), findings("\n".join(kept))
    assert (whole.carried, whole.named, whole.faults) == (part.carried, part.named, part.faults)


@pytest.mark.parametrize(
    ("line", "backend"),
    [
        (
            "[TensorRT-LLM][INFO] NixlTransferAgent::NixlTransferAgent using NIXL backend: LIBFABRIC",
            "LIBFABRIC",
        ),
        ("2026-08-21 NIXL INFO    _api.py:405 Backend LIBFABRIC was instantiated", "LIBFABRIC"),
        ("I0821 nixl_agent.cpp:1000] Selected backend: UCX", "UCX"),
        ("[TensorRT-LLM][WARNING] Unsupported NIXL backend: libfabric, fallback to UCX", "UCX"),
        ("NIXL Connection Manager created", ""),
    ],
)
def test_backends_are_named(line: str, backend: str) -> None:
    assert findings(line).backend == backend


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        # TensorRT-LLM, nixl_utils transferAgent.cpp
        ("Unsupported NIXL backend: Libfabric, fallback to UCX", "BackendFellBack", "in capitals"),
        ("Failed to create NIXL backend: LIBFABRIC", "BackendUnavailable", "its backend LIBFABRIC"),
        (
            "RuntimeError: [TensorRT-LLM][ERROR] Assertion failed: status == NIXL_SUCCESS "
            "(transferAgent.cpp:654)",
            "NixlAbiMismatch",
            "NIXL_PLUGIN_DIR",
        ),
        # NIXL, nixl_plugin_manager.cpp, nixl_agent.cpp, ucx_utils.cpp
        (
            "Plugin API version mismatch for /opt/a/libplugin_UCX.so: expected 1, got 2",
            "PluginVersion",
            "interface 2 and not 1",
        ),
        (
            "Failed to find nixl_plugin_init in /opt/a/libplugin_UCX.so: undefined symbol",
            "PluginForeign",
            "NIXL_PLUGIN_DIR",
        ),
        (
            "Failed to load plugin from /opt/a/libplugin_UCX.so: undefined symbol: nixlDescList",
            "PluginNotLoadable",
            "undefined symbol: nixlDescList",
        ),
        ("getPluginParams: backend 'UCX' not found", "BackendUnavailable", "its backend UCX"),
        ("createBackend: unsupported backend 'LIBFABRIC'", "BackendUnavailable", "LIBFABRIC"),
        ("backend initialization error for 'UCX'", "BackendUnavailable", "UCX"),
        (
            "8 NVIDIA GPU(s) were detected, but UCX CUDA support was not found! GPU memory is not supported.",
            "NoCudaInUcx",
            "cuda_copy",
        ),
        (
            "8 IB device(s) were detected, but accelerated IB support was not found!",
            "NoRdmaInUcx",
            "lacks rc",
        ),
        # libfabric
        ("efa_mr_reg_impl: Unable to register MR: Bad address", "MemoryNotRegistered", "2.5.1"),
        ("fi_mr_reg failed on rail 2: Bad address", "MemoryNotRegistered", "privileged"),
        ("fi_read still retrying EAGAIN on rail 0", "EfaWithinNode", "different nodes"),
        # TensorRT-LLM
        ("CacheTransceiver is disabled.", "TransceiverOff", "cache_transceiver_config.backend"),
        ("cache_transceiver is disabled", "TransceiverOff", "cache_transceiver_config.backend"),
    ],
)
def test_faults_become_sentences(line: str, reason: str, says: str) -> None:
    (fault,) = findings(f"noise\n{line}\n").faults
    assert fault.reason == reason
    assert says in fault.says
    assert fault.line == line


@pytest.mark.parametrize(
    ("lanes", "transport"),
    [
        (["rc_mlx5/mlx5_0:1"], Transport.UCX_RDMA),
        (["dc_mlx5/mlx5_0:1", "dc_mlx5/mlx5_1:1"], Transport.UCX_RDMA),
        (["srd/rdmap40s0:1"], Transport.UCX_SRD),
        (["cuda_ipc/cuda"], Transport.NVLINK),
        (["sysv/memory"], Transport.SHARED_MEMORY),
        (["xpmem/memory"], Transport.SHARED_MEMORY),
        (["tcp/eth0"], Transport.UCX_TCP),
        (["cuda_ipc/cuda", "tcp/eth0"], Transport.UCX_TCP),
        (["cuda_copy/cuda"], Transport.UNKNOWN),
        ([], Transport.UNKNOWN),
    ],
)
def test_lanes_name_transports_the_slowest_first(lanes: list[str], transport: Transport) -> None:
    assert of_lanes(lanes) is transport


def test_several_rails_of_a_table_are_all_named() -> None:
    table = (
        "| ucp_context_2 inter-node cfg#1 |\n"
        "| remote memory write by ucp_put*(multi) from cuda/GPU0 |\n"
        "| 0..8184 | short | tcp/eth0 |\n"
        "| 8185..inf | zero-copy | 52% on srd/rdmap40s0:1 and 48% on srd/rdmap41s0:1 |\n"
    )
    found = findings(table)
    assert found.kv_lanes == ("srd/rdmap40s0:1", "srd/rdmap41s0:1")
    assert not found.emulated


def test_logs_of_several_pods_are_read_together() -> None:
    together = merged([findings(DYNAMO_EFA), findings(of("ucx-tcp-reader.log"))])
    assert (together.backend, together.named) == ("UCX", Transport.UCX_TCP)
    assert len(together.lines) <= 6
    mixed = merged([findings("Backend UCX was instantiated"), findings("Backend LIBFABRIC was instantiated")])
    assert mixed.backend == ""
    fell = merged([findings("Created 4 rails using provider=efa"), findings("rails using provider=tcp")])
    assert fell.provider == "tcp"
    assert merged([]).named is Transport.UNKNOWN


def test_long_lines_are_cut() -> None:
    (line,) = findings(f"Backend UCX was instantiated {'x' * 1000}").lines
    assert len(line) == 200


# SGLang 0.5.9 to 0.5.21, disaggregation/nixl/conn.py, NixlKVManager.__init__.
@pytest.mark.parametrize("backend", ["UCX", "LIBFABRIC"])
def test_sglang_names_its_plugin(backend: str) -> None:
    found = findings(f"[2026-11-01 10:00:00 TP0] NIXL KVManager initialized with backend: {backend}\n")
    assert found.backend == backend
    assert evidence_lines(found.lines[0]) == list(found.lines)


@pytest.mark.parametrize(
    ("line", "reason", "word"),
    [
        # vLLM 0.10.2 to 0.31.0, the nixl connector's worker.
        ("ERROR 11-01 10:00:00 [base_worker.py:548] NIXL is not available", "NixlMissing", "no NIXL"),
        # vLLM 0.14.1 to 0.31.0, _log_failure.
        (
            "ERROR 11-01 [base_worker.py:1281] NIXL transfer failure: transfer_failed | Context: {'a': 1}",
            "TransferFailed",
            "transfer_failed",
        ),
        # SGLang 0.5.4 to 0.5.21, disaggregation/nixl/conn.py.
        (
            "Could not fetch prefill parallel info from bootstrap_addr: 10.0.0.7:8998",
            "BootstrapUnreachable",
            "10.0.0.7:8998",
        ),
    ],
)
def test_what_vllm_and_sglang_call_wrong_is_told(line: str, reason: str, word: str) -> None:
    (fault,) = findings(line).faults
    assert fault.reason == reason
    assert word in fault.says
