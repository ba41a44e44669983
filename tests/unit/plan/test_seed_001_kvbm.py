"""NVIDIA's "KV Cache Transfer" page of when NIXL became the default (seed 001), sentence by sentence."""

from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan

PREFIX = "DYN_KVBM_NIXL_BACKEND_"
ENABLE = ("true", "1", "on", "yes")
DISABLE = ("false", "0", "off", "no")


def planned(**spec: Any) -> Plan:
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "demo"},
        "spec": {"model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}}, **spec},
    }
    return plan(accept(resource), Installation(worker_image="worker:test"))


def variables(result: Plan, role: str) -> dict[str, str | None]:
    return {each.name: each.value for each in result.roles[role].pod.environment}


def kvbm(result: Plan, role: str = "prefill") -> dict[str, str | None]:
    return {name: value for name, value in variables(result, role).items() if name.startswith("DYN_KVBM")}


def test_nixl_with_ucx_is_the_default() -> None:
    result = planned()
    assert str(result.transfer) == "NIXL/UCX"
    for role in ("prefill", "decode"):
        config = yaml.safe_load(result.roles[role].files["engine.yaml"])
        assert config["cache_transceiver_config"]["backend"] == "NIXL"


def test_ucx_is_used_directly_where_the_engine_file_says_so() -> None:
    result = planned(transfer={"method": "UCX"})
    for role in ("prefill", "decode"):
        config = yaml.safe_load(result.roles[role].files["engine.yaml"])
        assert config["cache_transceiver_config"]["backend"] == "UCX"
        assert "TRTLLM_NIXL_KVCACHE_BACKEND" not in variables(result, role)


@pytest.mark.parametrize("name", ["TRTLLM_USE_UCX_KV_CACHE", "TRTLLM_USE_UCX_KVCACHE"])
@pytest.mark.parametrize("backend", [None, "DEFAULT"])
def test_the_variable_with_default_does_not_enable_ucx(name: str, backend: str | None) -> None:
    config = {"engineConfig": {"cache_transceiver_config": {"backend": backend}}} if backend else {}
    with pytest.raises(Refusal) as refusal:
        planned(env=[{"name": name, "value": "1"}], prefill=config, decode=config)
    said = str(refusal.value)
    assert f"{name}=1 with cache_transceiver_config.backend: DEFAULT does not enable UCX" in said
    assert "write spec.transfer.method: UCX" in said


def test_ucx_is_kvbms_default_where_no_backend_is_named() -> None:
    assert kvbm(planned(transfer={"kvbm": {"cpuCacheGb": 100}})) == {"DYN_KVBM_CPU_CACHE_GB": "100"}
    assert kvbm(planned()) == {}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("{UCX: true}", {"UCX": "true"}),
        ("{GDS: true}", {"GDS": "true"}),
        ("{UCX: true, GDS: true}", {"UCX": "true", "GDS": "true"}),
        ("{GDS: false}", {"GDS": "false"}),
        # The words on, yes, off and no are booleans of YAML.
        ("{UCX: on, GDS: yes}", {"UCX": "true", "GDS": "true"}),
        ("{UCX: on, GDS: off}", {"UCX": "true", "GDS": "false"}),
        ("{UCX: yes, GDS: no}", {"UCX": "true", "GDS": "false"}),
        # Others go by their names too.
        ("{UCX: true, POSIX: true, GDS_MT: true}", {"UCX": "true", "POSIX": "true", "GDS_MT": "true"}),
    ],
)
def test_backends_are_enabled_and_disabled(named: str, expected: dict[str, str]) -> None:
    result = planned(transfer={"kvbm": {"nixlBackends": yaml.safe_load(named)}})
    assert kvbm(result) == {f"{PREFIX}{name}": word for name, word in expected.items()}
    assert kvbm(result, "decode") == {}


@pytest.mark.parametrize("word", [*ENABLE, *DISABLE])
@pytest.mark.parametrize("backend", ["UCX", "GDS"])
def test_every_valid_value_may_be_written_by_hand(backend: str, word: str) -> None:
    result = planned(env=[{"name": f"{PREFIX}{backend}", "value": word}])
    assert kvbm(result) == {f"{PREFIX}{backend}": word}


@pytest.mark.parametrize("word", ["", "enabled", "2", "none", "truee"])
def test_another_value_is_refused_with_those_that_there_are(word: str) -> None:
    with pytest.raises(Refusal) as refusal:
        planned(prefill={"env": [{"name": f"{PREFIX}GDS", "value": word}]})
    said = str(refusal.value)
    assert all(each in said for each in (*ENABLE, *DISABLE))
    assert said.startswith("spec.prefill.env[0]: ")


def test_prefill_workers_alone_use_the_block_manager() -> None:
    result = planned(transfer={"kvbm": {"cpuCacheGb": 100, "diskCacheGb": 200}})
    prefill, decode = (result.roles[role] for role in ("prefill", "decode"))
    assert prefill.pod.command[-2:] == ("--connector", "kvbm")
    assert "--connector" not in decode.pod.command
    config = yaml.safe_load(prefill.files["engine.yaml"])
    assert config["kv_cache_config"]["enable_partial_reuse"] is False
    assert "enable_block_reuse" not in config["kv_cache_config"]
    assert config["cuda_graph_config"] is None
    assert yaml.safe_load(decode.files["engine.yaml"])["kv_cache_config"]["enable_block_reuse"] is False


def test_a_release_without_the_block_manager_refuses_it() -> None:
    with pytest.raises(
        Refusal,
        match=r"spec\.transfer\.kvbm: KVBM has no connector for this release of the engine, 1\.1\.0rc5",
    ):
        planned(
            runtime={"version": "0.6.1", "image": "own:1"},
            discovery={"etcd": {"endpoints": ["http://etcd:2379"]}, "nats": {"server": "nats://nats:4222"}},
            transfer={"kvbm": {"cpuCacheGb": 100}},
        )
