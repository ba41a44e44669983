"""vLLM, SGLang and Dynamo's mocker: their command lines, in the words of each version."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.engines.registry import ENGINES
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import EnvSetting, ExecProbe, HttpProbe, Plan, RolePlan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.flags import argument_table
from unit.deployments import deployment_of

RELEASES = builtin().runtimes["dynamo"]
HELD = [(engine, version) for version, each in RELEASES.items() for engine in each.engines]
BY_ARGUMENTS = [(engine, version) for engine, version in HELD if ENGINES[engine].dialect is not None]
KVBM: dict[str, Any] = {
    "transfer": {"kvbm": {"cpuCacheGb": 10}},
    "discovery": {"etcd": {"endpoints": ["http://e:2379"]}},
}


def planned(engine: str, version: str | None = None, platform: str = "generic", **spec: Any) -> Plan:
    runtime = {"engine": engine, **({} if version is None else {"version": version})}
    resource = deployment_of({"platform": platform, "runtime": runtime, **spec})
    return plan(accept(resource), Installation("worker:test"))


def words(role: RolePlan) -> list[str]:
    return list(role.pod.command)


def value_of(role: RolePlan, flag: str) -> str:
    command = words(role)
    return command[command.index(flag) + 1]


def connector(role: RolePlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value_of(role, "--kv-transfer-config"))
    return found


def variables(role: RolePlan) -> Mapping[str, EnvSetting]:
    return {setting.name: setting for setting in role.pod.environment}


@pytest.mark.parametrize(("engine", "version"), BY_ARGUMENTS)
def test_every_argument_of_a_command_is_known_to_its_version(engine: str, version: str) -> None:
    """The table is read from the sources of that version: hack/engine-arguments."""
    several = {"nodesPerReplica": 2, "parallelism": {"tensor": 4, "expert": 4}}
    release = RELEASES[version].engines[engine]
    on_gpus = ENGINES[engine].on_gpu
    decode = several if release.meeting is not None else {"parallelism": {"tensor": 4}} if on_gpus else {}
    result = planned(engine, version, decode=decode)
    table = argument_table(engine)
    assert table.knows(release.version)
    for role in result.roles.values():
        command = words(role)
        given = [word[2:] for word in command[command.index("-m") :] if word.startswith("--")]
        assert given
        assert set(given) <= table.of(release.version), set(given) - table.of(release.version)
        assert len(given) == len(set(given))


@pytest.mark.parametrize("engine", ["vllm", "sglang", "mocker"])
def test_what_the_resource_says_itself_are_arguments_of_the_engine(engine: str) -> None:
    dialect = ENGINES[engine].dialect
    assert dialect is not None
    # The mocker is told its scope by variables, as all workers are.
    by_variable = {"namespace", "store-kv"} if engine == "mocker" else set()
    assert all(dialect.table.versions_with(name) for name in dialect.owned.keys() - by_variable)


@pytest.mark.parametrize(
    ("version", "prefill", "decode"),
    [
        ("0.6.1", {"kv_role": "kv_both"}, {"kv_role": "kv_both"}),
        ("0.9.1", {"kv_role": "kv_both"}, {"kv_role": "kv_both"}),
        ("1.2.1", {"kv_role": "kv_both"}, {"kv_role": "kv_both"}),
        ("1.3.1", {"kv_role": "kv_producer"}, {"kv_role": "kv_consumer"}),
        ("1.6.1", {"kv_role": "kv_producer"}, {"kv_role": "kv_consumer"}),
    ],
)
def test_the_connector_of_vllm_in_the_words_of_each_version(
    version: str, prefill: dict[str, str], decode: dict[str, str]
) -> None:
    policy = {"kv_load_failure_policy": "fail"} if version >= "0.9" else {}
    roles = planned("vllm", version).roles
    assert connector(roles["prefill"]) == {"kv_connector": "NixlConnector", **policy, **prefill}
    assert connector(roles["decode"]) == {"kv_connector": "NixlConnector", **policy, **decode}


@pytest.mark.parametrize("version", ["0.6.1", "0.7.1", "0.9.1"])
def test_early_releases_tell_vllm_its_role_by_a_switch(version: str) -> None:
    roles = planned("vllm", version).roles
    assert "--is-prefill-worker" in words(roles["prefill"])
    assert "--is-decode-worker" in words(roles["decode"])


@pytest.mark.parametrize("version", ["1.0.1", "1.6.1"])
def test_the_side_channel_of_vllm_is_the_pods_own_address(version: str) -> None:
    for role in planned("vllm", version).roles.values():
        found = variables(role)
        address = {"fieldRef": {"fieldPath": "status.podIP"}}
        assert found["VLLM_NIXL_SIDE_CHANNEL_HOST"].value_from == address
        assert found["VLLM_NIXL_SIDE_CHANNEL_PORT"].value == "5600"
        assert ("nixl", 5600) in {(port.name, port.number) for port in role.pod.ports}


def test_vllm_gets_the_plugin_that_the_fabric_or_the_user_says() -> None:
    on_efa = planned("vllm", platform="aws-p5.48xlarge")
    assert on_efa.transfer.nixl_backend == "LIBFABRIC"
    extra = connector(on_efa.roles["decode"])["kv_connector_extra_config"]
    assert extra == {"backends": ["LIBFABRIC"]}
    asked = planned("vllm", platform="aws-p5.48xlarge", transfer={"nixlBackend": "UCX"})
    assert "kv_connector_extra_config" not in connector(asked.roles["prefill"])
    with pytest.raises(Refusal, match=r"spec\.transfer\.nixlBackend: LIBFABRIC cannot be used"):
        planned("vllm", "0.6.1", "aws-p5.48xlarge", transfer={"nixlBackend": "LIBFABRIC"})


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("method", ["UCX", "MPI", "MOONCAKE"])
def test_other_libraries_are_refused_with_the_one_that_is_there(engine: str, method: str) -> None:
    with pytest.raises(Refusal, match=rf"spec\.transfer\.method: {method} cannot be used .* Write NIXL"):
        planned(engine, transfer={"method": method})


def test_kvbm_joins_its_connector_and_nixls_on_prefill_alone() -> None:
    roles = planned("vllm", **KVBM).roles
    joined = connector(roles["prefill"])
    assert joined["kv_connector"] == "PdConnector"
    assert joined["kv_connector_module_path"] == "kvbm.vllm_integration.connector"
    inner = joined["kv_connector_extra_config"]["connectors"]
    assert [each["kv_connector"] for each in inner] == ["DynamoConnector", "NixlConnector"]
    assert [each["kv_role"] for each in inner] == ["kv_both", "kv_producer"]
    assert connector(roles["decode"])["kv_connector"] == "NixlConnector"
    assert variables(roles["prefill"])["DYN_KVBM_CPU_CACHE_GB"].value == "10"
    on_efa = planned("vllm", platform="aws-p5.48xlarge", **KVBM).roles["prefill"]
    plugin = connector(on_efa)["kv_connector_extra_config"]["connectors"][1]["kv_connector_extra_config"]
    assert plugin == {"backends": ["LIBFABRIC"]}


@pytest.mark.parametrize(("engine", "version"), [("sglang", "1.6.1"), ("vllm", "0.9.1")])
def test_engines_without_a_connector_of_kvbm_refuse_it(engine: str, version: str) -> None:
    with pytest.raises(Refusal, match=r"spec\.transfer\.kvbm: KVBM has no connector"):
        planned(engine, version, **KVBM)


@pytest.mark.parametrize("version", ["0.6.1", "1.0.1", "1.6.1"])
def test_sglang_moves_kv_cache_with_nixl_from_the_pods_own_address(version: str) -> None:
    for name, role in planned("sglang", version).roles.items():
        assert value_of(role, "--disaggregation-mode") == name
        assert value_of(role, "--disaggregation-transfer-backend") == "nixl"
        assert value_of(role, "--disaggregation-bootstrap-port") == "8998"
        assert value_of(role, "--host") == "$(POD_IP)"
        assert variables(role)["SGLANG_HOST_IP"].value_from == {"fieldRef": {"fieldPath": "status.podIP"}}
        assert ("SGLANG_DISAGGREGATION_NIXL_BACKEND" in variables(role)) == (version >= "1.0")


@pytest.mark.parametrize(
    ("engine", "version", "variable", "role"),
    [
        ("vllm", "1.2.1", "VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "prefill"),
        ("sglang", "1.6.1", "SGLANG_DISAGGREGATION_WAITING_TIMEOUT", "decode"),
    ],
)
def test_a_limit_of_transfers_is_told_only_where_the_user_writes_one(
    engine: str, version: str, variable: str, role: str
) -> None:
    written = planned(engine, version, transfer={"timeoutSeconds": 90}).roles[role]
    assert variables(written)[variable].value == "90"
    assert variable not in variables(planned(engine, version).roles[role])
    # The API server writes the default into each resource.
    assert variable not in variables(planned(engine, version, transfer={"timeoutSeconds": 60}).roles[role])


def test_arguments_of_the_user_are_written_as_the_engine_takes_them() -> None:
    config = {
        "max_model_len": 4096,
        "enable-prefix-caching": False,
        "enforce-eager": True,
        "dtype": None,
        "speculative-config": {"method": "ngram", "num_speculative_tokens": 2},
        "kv-transfer-config": {"kv_connector_extra_config": {"num_threads": 8}},
        "seed": -1,
    }
    prefill = planned("vllm", "1.0.1", prefill={"engineConfig": config}).roles["prefill"]
    command = words(prefill)
    assert value_of(prefill, "--max-model-len") == "4096"
    assert "--no-enable-prefix-caching" in command
    assert "--enforce-eager" in command
    assert "--seed=-1" in command
    assert "--dtype" not in command
    assert json.loads(value_of(prefill, "--speculative-config"))["num_speculative_tokens"] == 2
    assert connector(prefill)["kv_connector"] == "NixlConnector"
    assert connector(prefill)["kv_connector_extra_config"] == {"num_threads": 8}


def test_switches_of_sglang_are_left_out_where_they_are_off() -> None:
    config = {"trust-remote-code": True, "enable-dp-attention": False, "cuda-graph-bs": [1, 2, 4]}
    command = words(planned("sglang", "1.2.1", decode={"engineConfig": config}).roles["decode"])
    assert "--trust-remote-code" in command
    assert not any("dp-attention" in word for word in command)
    start = command.index("--cuda-graph-bs")
    assert command[start + 1 : start + 4] == ["1", "2", "4"]


def test_nodes_of_vllm_join_the_first_which_alone_serves() -> None:
    decode = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}
    role = planned("vllm", decode=decode).roles["decode"]
    command = words(role)
    assert command[:6] == ["python3", "/etc/disagg/join_leader.py", "29500", "900", "--headless", "--"]
    assert command[-10:] == [
        *("--distributed-executor-backend", "mp"),
        *("--nnodes", "2"),
        *("--node-rank", "$(DISAGG_NODE_RANK)"),
        *("--master-addr", "$(DISAGG_LEADER)"),
        *("--master-port", "29500"),
    ]
    assert "join_leader.py" in role.files
    assert isinstance(role.pod.readiness, ExecProbe)
    assert "29500" in {str(port.number) for port in (role.group.ports if role.group else ())}


@pytest.mark.parametrize(("version", "told"), [("0.6.1", True), ("1.0.1", True), ("1.6.1", False)])
def test_early_sglang_is_told_the_sizes_of_the_other_role(version: str, told: bool) -> None:
    roles = planned(
        "sglang",
        version,
        prefill={"parallelism": {"tensor": 2, "pipeline": 2}},
        decode={"parallelism": {"tensor": 4}},
    ).roles
    assert ("--disaggregation-decode-tp" in words(roles["prefill"])) == told
    assert ("--disaggregation-prefill-pp" in words(roles["decode"])) == told
    if told:
        assert value_of(roles["prefill"], "--disaggregation-decode-tp") == "4"
        assert value_of(roles["decode"], "--disaggregation-prefill-pp") == "2"
    alike = planned("sglang", version, decode={"parallelism": {"tensor": 1}}).roles
    assert "--disaggregation-decode-tp" not in words(alike["prefill"])


def test_nodes_of_sglang_join_the_first_on_every_release() -> None:
    decode = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}
    for version in ("0.6.1", "1.6.1"):
        command = words(planned("sglang", version, decode=decode).roles["decode"])
        assert command[-2:] == ["--dist-init-addr", "$(DISAGG_LEADER):29500"]
        assert "--headless" not in command


def test_a_release_whose_vllm_knows_no_nodes_refuses_several() -> None:
    decode = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}
    fault = r"spec\.decode\.nodesPerReplica: this release of the engine, 0\.14\.1, runs on one node alone"
    with pytest.raises(Refusal, match=fault):
        planned("vllm", "0.9.1", decode=decode)


def test_the_mocker_runs_in_the_installations_image_and_nothing_is_verified() -> None:
    result = planned("mocker", prefill={"engineConfig": {"speedup-ratio": 10}})
    prefill = result.roles["prefill"]
    assert prefill.pod.image == "worker:test"
    assert prefill.gpus == 0
    assert words(prefill)[:3] == ["python3", "-m", "dynamo.mocker"]
    assert value_of(prefill, "--speedup-ratio") == "10"
    assert result.verification is None
    assert prefill.pod.agent is None
    assert prefill.pod.check is None
    assert str(result.transfer) == "simulated"
    assert isinstance(prefill.pod.readiness, HttpProbe)


@pytest.mark.parametrize(("engine", "version"), BY_ARGUMENTS)
def test_values_of_a_release_say_why_and_where_they_stand(engine: str, version: str) -> None:
    release = RELEASES[version].engines[engine]
    found = (*release.methods, *release.nixl_backends, *release.settings, *release.environment)
    assert all(value.line.startswith("runtimes/") for value in (*found, *release.images))
