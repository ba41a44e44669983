"""The engine's YAML file: what is derived by role and version, and what the user lays over it."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.engines.config import explained, laid_over, nested
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import ConfigSetting, Plan, Provenance
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import deployment_of

RELEASES = builtin().runtimes["dynamo"]
STORES = {"etcd": {"endpoints": ["http://etcd:2379"]}, "nats": {"server": "nats://nats:4222"}}


def planned(version: str = "1.6.1", **spec: Any) -> Plan:
    profile = RELEASES[version]
    discovery = (
        {} if profile.discovery.backends[0].value == "kubernetes" else {"etcd": {"endpoints": ["http://e:1"]}}
    )
    resource = deployment_of(
        {
            "runtime": {"version": version, "image": "own:1"},
            "discovery": STORES if profile.discovery.nats else discovery,
            "placement": {"nodeSelector": {"kubernetes.io/arch": "amd64"}},
            **spec,
        }
    )
    return plan(accept(resource), Installation(worker_image="worker:test"))


def engine_file(result: Plan, role: str) -> Any:
    return yaml.safe_load(result.roles[role].files["engine.yaml"])


def test_derived_file_of_each_role() -> None:
    result = planned(
        transfer={"maxTokensInBuffer": 8192, "timeoutSeconds": 30},
        prefill={"parallelism": {"tensor": 2}},
        decode={"parallelism": {"tensor": 8, "pipeline": 2, "context": 2, "expert": 4}},
    )
    transceiver = {"backend": "NIXL", "kv_transfer_timeout_ms": 30000, "max_tokens_in_buffer": 8192}
    assert engine_file(result, "prefill") == {
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "backend": "pytorch",
        "disable_overlap_scheduler": True,
        "cuda_graph_config": None,
        "kv_cache_config": {"enable_block_reuse": False, "free_gpu_memory_fraction": 0.85},
        "cache_transceiver_config": transceiver,
    }
    assert engine_file(result, "decode") == {
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 2,
        "context_parallel_size": 2,
        "moe_expert_parallel_size": 4,
        "backend": "pytorch",
        "disable_overlap_scheduler": False,
        "cuda_graph_config": {"enable_padding": True},
        "kv_cache_config": {"enable_block_reuse": False, "free_gpu_memory_fraction": 0.8},
        "cache_transceiver_config": transceiver,
    }


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("method", ["NIXL", "UCX", "MPI"])
def test_the_library_is_always_written_and_agrees_with_the_variables(version: str, method: str) -> None:
    result = planned(version, transfer={"method": method})
    fields = {"backend": method.lower() if version == "0.4.1" else method, "kv_transfer_timeout_ms": 60000}
    if version == "0.4.1":
        del fields["kv_transfer_timeout_ms"]
    for role in ("prefill", "decode"):
        assert engine_file(result, role)["cache_transceiver_config"] == fields
        environment = {each.name: each.value for each in result.roles[role].pod.environment}
        assert "NIXL_BACKEND" not in environment
        nats = RELEASES[version].discovery.nats
        if nats is not None and nats.needed:
            assert environment["TRTLLM_USE_NIXL_KVCACHE"] == str(int(method == "NIXL"))
            assert environment["TRTLLM_USE_UCX_KVCACHE"] == str(int(method == "UCX"))
        else:
            assert environment.get("TRTLLM_NIXL_KVCACHE_BACKEND") == ("UCX" if method == "NIXL" else None)


@pytest.mark.parametrize(
    ("version", "folder"),
    [
        ("0.9.1", None),
        ("1.0.1", "/opt/dynamo/venv/lib/python3.12/site-packages"),
        ("1.1.1", "/opt/dynamo/venv/lib/python3.12/site-packages"),
        ("1.2.1", "/usr/local/lib/python3.12/dist-packages"),
        ("1.6.1", "/usr/local/lib/python3.12/dist-packages"),
    ],
)
def test_plugins_of_the_bundled_nixl_are_for_a_decode_over_several_nodes(
    version: str, folder: str | None
) -> None:
    variables = RELEASES[version].engines["trtllm"].environment
    found = [(each.value, dict(each.when)) for each in variables if each.name == "NIXL_PLUGIN_DIR"]
    when = {"role": ("decode",), "nodes": ("several",)}
    assert found == ([(f"{folder}/tensorrt_llm/libs/nixl/plugins", when)] if folder else [])


def test_the_user_lays_settings_over_the_derived_ones() -> None:
    written = {
        "kv_cache_config": {"free_gpu_memory_fraction": 0.5, "dtype": "fp8"},
        "max_num_tokens": 16384,
        "cuda_graph_config": None,
    }
    result = planned(
        prefill={"engineConfig": written}, decode={"engineConfig": {"kv_cache_config": {"dtype": "fp8"}}}
    )
    found = engine_file(result, "prefill")
    assert found["kv_cache_config"] == {
        "enable_block_reuse": False,
        "free_gpu_memory_fraction": 0.5,
        "dtype": "fp8",
    }
    assert found["max_num_tokens"] == 16384
    assert found["cuda_graph_config"] is None


def test_null_removes_what_is_derived() -> None:
    result = planned(decode={"engineConfig": {"kv_cache_config": {"free_gpu_memory_fraction": None}}})
    assert engine_file(result, "decode")["kv_cache_config"] == {"enable_block_reuse": False}


def test_null_switches_off_what_tensorrt_llm_switches_off_by_it() -> None:
    result = planned(decode={"engineConfig": {"cuda_graph_config": None, "max_batch_size": 64}})
    for role in ("prefill", "decode"):
        assert engine_file(result, role)["cuda_graph_config"] is None


@pytest.mark.parametrize(
    ("written", "graphs"),
    [
        ({}, {"enable_padding": True}),
        ({"max_batch_size": 256}, {"enable_padding": True, "max_batch_size": 256}),
        ({"max_batch_size": "256"}, {"enable_padding": True}),
        (
            {"max_batch_size": 256, "cuda_graph_config": {"max_batch_size": 64, "enable_padding": False}},
            {"enable_padding": False, "max_batch_size": 64},
        ),
        (
            {"max_batch_size": 256, "cuda_graph_config": {"batch_sizes": [1, 2]}},
            {"enable_padding": True, "batch_sizes": [1, 2]},
        ),
    ],
)
def test_decode_has_graphs_for_the_batches_that_it_takes(
    written: dict[str, Any], graphs: dict[str, Any]
) -> None:
    assert engine_file(planned(decode={"engineConfig": written}), "decode")["cuda_graph_config"] == graphs


def kv(**fields: Any) -> dict[str, Any]:
    return {"engineConfig": {"kv_cache_config": fields}}


@pytest.mark.parametrize(("given", "other"), [("prefill", "decode"), ("decode", "prefill")])
def test_what_both_roles_must_agree_on_is_written_once(given: str, other: str) -> None:
    mtp = {"decoding_type": "MTP", "num_nextn_predict_layers": 2}
    config = {"kv_cache_config": {"dtype": "fp8", "tokens_per_block": 64}, "speculative_config": mtp}
    spec: dict[str, Any] = {given: {"engineConfig": config}}
    result = planned(**spec)
    for role in (given, other):
        found = engine_file(result, role)
        assert found["kv_cache_config"]["dtype"] == "fp8"
        assert found["kv_cache_config"]["tokens_per_block"] == 64
        assert found["speculative_config"] == mtp
    reasons = {each.key: each.provenance.source for each in result.roles[other].settings}
    assert reasons["kv_cache_config.dtype"] == f"spec.{given}.engineConfig.kv_cache_config.dtype"
    assert reasons["speculative_config.decoding_type"].startswith(f"spec.{given}.engineConfig.")


def test_a_role_that_says_it_itself_is_left_alone() -> None:
    result = planned(prefill=kv(dtype="auto"), decode=kv(dtype="auto"))
    assert engine_file(result, "prefill")["kv_cache_config"]["dtype"] == "auto"
    assert not [warning for warning in result.warnings if "kv-dtype" in warning.rule]
    other = {"speculative_config": {"decoding_type": "NGram", "max_draft_len": 3}}
    assert "speculative_config" not in engine_file(planned(decode={"engineConfig": other}), "prefill")


def test_every_setting_says_why() -> None:
    result = planned(prefill={"engineConfig": {"kv_cache_config": {"free_gpu_memory_fraction": 0.5}}})
    reasons = {each.key: each.provenance for each in result.roles["prefill"].settings}
    assert reasons["disable_overlap_scheduler"].line.startswith("runtimes/_trtllm.yaml:")
    assert reasons["tensor_parallel_size"].source == "spec.prefill.parallelism.tensor"
    assert reasons["cache_transceiver_config.backend"].line.startswith("runtimes/_trtllm-1.3.yaml:")
    assert reasons["cache_transceiver_config.kv_transfer_timeout_ms"].source == "spec.transfer.timeoutSeconds"
    assert reasons["kv_cache_config.free_gpu_memory_fraction"].source == "spec.prefill.engineConfig"
    assert nested(result.roles["prefill"].settings) == engine_file(result, "prefill")


def test_reasons_are_no_part_of_the_revision() -> None:
    assert planned().revision == planned(prefill={"engineConfig": {"backend": "pytorch"}}).revision
    assert planned().revision != planned(prefill={"engineConfig": {"max_batch_size": 4}}).revision


@pytest.mark.parametrize(
    ("version", "field", "remedy"),
    [
        (
            "0.4.1",
            "kv_transfer_timeout_ms",
            r"TensorRT-LLM 1\.1\.0rc5 knows it: write runtime\.version 0\.6\.1",
        ),
        ("0.6.1", "transceiver_runtime", r"TensorRT-LLM 1\.3\.0rc3 knows it: write runtime\.version 0\.9\.1"),
        ("0.7.1", "kv_transfer_poll_interval_ms", r"TensorRT-LLM 1\.3\.0rc3 knows it: .* 0\.9\.1 or newer"),
        ("1.3.1", "enable_pipelined_transfer", r"TensorRT-LLM 1\.3\.0rc22 knows it: .* 1\.4\.2 or newer"),
        ("1.6.1", "kv_transfer_timeout", r"Did you mean cache_transceiver_config\.kv_transfer_timeout_ms\?"),
    ],
)
def test_a_field_that_the_version_does_not_know_is_refused_with_the_one_that_does(
    version: str, field: str, remedy: str
) -> None:
    config = {"cache_transceiver_config": {field: 1}}
    with pytest.raises(Refusal, match=rf"cache_transceiver_config\.{field}: .* does not know it.*{remedy}"):
        planned(version, decode={"engineConfig": config})


def test_lower_case_is_what_the_oldest_version_accepts() -> None:
    config = {"cache_transceiver_config": {"backend": "ucx"}}
    result = planned("0.4.1", prefill={"engineConfig": config}, decode={"engineConfig": config})
    assert engine_file(result, "prefill")["cache_transceiver_config"] == {"backend": "ucx"}
    with pytest.raises(Refusal, match=r"'UCX' is not accepted .*\. Write one of default, ucx, nixl, mpi"):
        planned("0.4.1", prefill={"engineConfig": {"cache_transceiver_config": {"backend": "UCX"}}})


KEYS = st.sampled_from("abc")
LEAVES = st.none() | st.booleans() | st.integers(0, 3)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
CONFIGS = st.dictionaries(KEYS, TREES, max_size=3)


@given(CONFIGS, CONFIGS)
def test_what_the_user_writes_is_what_the_file_holds(
    derived: dict[str, Any], written: dict[str, Any]
) -> None:
    found = laid_over(derived, written)
    assert found.keys() <= derived.keys() | written.keys()
    for key, value in written.items():
        if key in derived and value is None:
            assert key not in found
        elif not isinstance(value, dict):
            assert found[key] == value
    assert laid_over(derived, {}) == derived


@given(CONFIGS, CONFIGS)
def test_every_setting_of_the_outcome_is_explained(derived: dict[str, Any], written: dict[str, Any]) -> None:
    why = Provenance("r", "s")
    settings = explained(derived, (), "here")
    assert {each.provenance.source for each in settings} <= {"here"}
    known = [ConfigSetting(each.key, each.value, why) for each in settings]
    outcome = laid_over(derived, written)
    assert nested(explained(outcome, known, "spec")) == outcome
