"""trtllm-serve: its workers, and the orchestrator that knows them by name or finds them in etcd."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.configmap import frontend_config_map
from disagg_operator.build.deployment import frontend_deployment
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, PREFILL, Plan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.programs import complete_settings
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import deployment_of, watched
from unit.plan import simulated_orchestrator

RELEASES = builtin().runtimes["trtllm-serve"]
KEYED = "1.4.0rc1"
ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there
ETCD = {"etcd": {"endpoints": ["http://etcd-0:2379", "http://etcd-1:2379"]}}

SERVE = "TensorRT-LLM 1.2, tensorrt_llm/commands/serve.py"
FLAGS = {
    # flag: (the source that knows it, what it takes)
    "--extra_llm_api_options": (f"{SERVE}: serve; --config is its other name from 1.2 on", "file"),
    "--host": (f"{SERVE}: serve, default localhost", "text"),
    "--port": (f"{SERVE}: serve, default 8000", "whole"),
    "--server_role": (f"{SERVE}: serve, a name of ServerRole", "role"),
    "-c": (f"{SERVE}: disaggregated; --config_file, and --config in newer ones, are its other names", "file"),
    "--server_start_timeout": (f"{SERVE}: disaggregated, -t, 180 s by default", "whole"),
    "--request_timeout": (f"{SERVE}: disaggregated, -r, 180 s by default", "whole"),
}
"""Every flag that is ever written, with its source."""


def planned(version: str | None = "1.2.1", **spec: Any) -> Plan:
    runtime = {"frontend": "trtllm-serve"} | ({} if version is None else {"version": version})
    resource = deployment_of(
        {
            "model": {"name": "org/m", "source": {"huggingFace": {"repository": "org/m"}}},
            "prefill": {"parallelism": {"tensor": 2}},
            "decode": {"parallelism": {"tensor": 2}},
            **spec,
            "runtime": runtime,
        },
        namespace="ns",
        uid="u-1",
    )
    return plan(accept(resource), Installation(worker_image="worker:test"))


def command(result: Plan, role: str = DECODE) -> list[str]:
    """Return the command of a worker, without what watches it and what starts groups."""
    words = list(watched(result.roles[role].pod.command))
    return words[words.index("trtllm-serve") :]


def following(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def orchestrator(result: Plan) -> simulated_orchestrator.SimulatedOrchestrator:
    return simulated_orchestrator.read(result.frontend.files["orchestrator.yaml"])


def refused(fault: str, version: str = "1.2.1", **spec: Any) -> None:
    with pytest.raises(Refusal, match=fault):
        planned(version, **spec)


def test_the_newest_release_that_is_no_candidate_is_the_default() -> None:
    assert list(RELEASES) == ["1.2.1", "1.1.0", "1.4.0rc1", "1.3.0rc29"]
    assert planned(None).roles[DECODE].pod.image == "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"


@pytest.mark.parametrize(
    ("version", "discovery"),
    [
        *((version, {}) for version in RELEASES),
        *((version, ETCD) for version in RELEASES if version != "1.1.0"),
    ],
)
def test_every_flag_is_one_that_its_source_knows(version: str, discovery: dict[str, Any]) -> None:
    result = planned(version, discovery=discovery)
    lines = [command(result, PREFILL), command(result), list(result.frontend.pod.command)]
    assert lines[0][:3] == ["trtllm-serve", "serve", "org/m"]
    assert lines[2][:2] == ["trtllm-serve", "disaggregated"]
    for words in lines:
        arguments = words[words.index(next(each for each in words if each.startswith("-"))) :]
        flags, values = arguments[::2], arguments[1::2]
        assert set(flags) <= set(FLAGS)
        assert len(flags) == len(values) == len(set(flags))
        for flag, value in zip(flags, values, strict=True):
            kind = FLAGS[flag][1]
            assert kind != "whole" or value.isdecimal()
            assert kind != "file" or value.endswith(".yaml")
            assert kind != "role" or value in {"CONTEXT", "GENERATION"}


def test_a_list_names_each_worker_by_its_pod_and_says_how_many_there_are() -> None:
    result = planned(prefill={"replicas": 3, "parallelism": {"tensor": 2}})
    name = f"demo-prefill-{result.revision}"
    found = orchestrator(result)
    assert found.servers["context_servers"] == [(f"{name}-{n}.{name}.ns.svc", 8001) for n in range(3)]
    sets = {
        obj["metadata"]["name"]: obj["spec"] for obj in worker_objects(result) if obj["kind"] == "StatefulSet"
    }
    assert sets[name]["serviceName"] == name
    assert sets[name]["replicas"] == 3
    assert found.address == (ANYWHERE, 8000)
    assert simulated_orchestrator.binds(found)


def test_a_group_is_named_by_its_leader_who_alone_serves() -> None:
    result = planned(
        platform="infiniband",
        decode={"replicas": 2, "nodesPerReplica": 2, "parallelism": {"tensor": 16}},
    )
    name = f"demo-decode-{result.revision}"
    assert orchestrator(result).servers["generation_servers"] == [
        (f"{name}-{group}-0.{name}-all.ns.svc", 8001) for group in range(2)
    ]
    launched = watched(result.roles[DECODE].pod.command)
    assert launched[:2] == ("bash", "/etc/disagg/launch.sh")
    assert launched[2:4] == ("trtllm-serve", "serve")
    assert "trtllm-llmapi-launch" in result.roles[DECODE].files["launch.sh"]


def test_no_instances_are_an_empty_list() -> None:
    result = planned(decode={"replicas": 0, "parallelism": {"tensor": 2}})
    assert orchestrator(result).servers["generation_servers"] == []


def test_scaling_changes_the_list_and_the_frontend_and_no_worker() -> None:
    one, three = (planned(decode={"replicas": n, "parallelism": {"tensor": 2}}) for n in (1, 3))
    assert one.revision == three.revision
    names = [frontend_config_map(each)["metadata"]["name"] for each in (one, three)]
    assert names[0] != names[1]
    for result, name in zip((one, three), names, strict=True):
        volumes = frontend_deployment(result)["spec"]["template"]["spec"]["volumes"]
        assert {"name": "config", "configMap": {"name": name}} in volumes


def test_an_orchestrator_waits_as_long_as_its_workers_may_take() -> None:
    result = planned(
        platform="infiniband",
        transfer={"timeoutSeconds": 90},
        drain={"requestSeconds": 1200},
        decode={"nodesPerReplica": 2, "parallelism": {"tensor": 16}},
    )
    words = list(result.frontend.pod.command)
    probes = [role.pod.startup for role in result.roles.values()]
    longest = max(probe.period * probe.failures for probe in probes)
    assert longest == 1800 + 900, "half an hour for the model, and a quarter for the nodes of a group"
    assert following(words, "--server_start_timeout") == str(longest)
    assert following(words, "--request_timeout") == "1290"
    startup = result.frontend.pod.startup
    assert startup.period * startup.failures >= longest + 60


def test_in_etcd_workers_register_under_their_address_and_by_their_revision() -> None:
    result = planned(discovery=ETCD)
    uri = "etcd://etcd-0:2379,etcd://etcd-1:2379"
    cluster = orchestrator(result).cluster
    assert cluster["cluster_uri"] == uri
    assert cluster["cluster_name"].endswith(f"-demo-{result.revision}")
    assert cluster["heartbeat_interval_sec"] < cluster["inactive_timeout_sec"]
    for role, called in ((PREFILL, "CONTEXT"), (DECODE, "GENERATION")):
        words, pod = command(result, role), result.roles[role].pod
        assert following(words, "--host") == "$(POD_IP)"
        assert following(words, "--server_role") == called
        assert "POD_IP" in {each.name for each in pod.environment}
        assert pod.prepare is not None
        assert yaml.safe_load(pod.prepare.command[5]) == {
            "disagg_cluster": {key: value for key, value in cluster.items() if key != "minimal_instances"}
        }
    assert following(command(planned()), "--host") == ANYWHERE
    assert "--server_role" not in command(planned())


def test_a_group_that_registers_is_asked_where_its_leader_listens() -> None:
    group = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}
    for discovery, address in (({}, "127.0.0.1"), (ETCD, "$POD_IP")):
        result = planned(platform="infiniband", discovery=discovery, decode=group)
        assert f'"/dev/tcp/{address}/$1"' in result.roles[DECODE].files["probe.sh"]


def test_an_etcd_of_the_operator_is_waited_for() -> None:
    result = planned(discovery={"etcd": {}})
    (service,) = result.discovery.services
    assert orchestrator(result).cluster["cluster_uri"] == service.url.replace("http://", "etcd://")
    assert result.frontend.pod.gate is not None
    assert result.roles[DECODE].pod.gate is not None


@pytest.mark.parametrize("version", RELEASES)
def test_the_key_is_in_no_config_map_and_reaches_all_three_files(version: str) -> None:
    result = planned(version)
    objects = [*shared_objects(result), *worker_objects(result)]
    secrets = [obj for obj in objects if obj["kind"] == "Secret"]
    files = [str(obj["data"]) for obj in objects if obj["kind"] == "ConfigMap"]
    assert not any("internal_request_auth_key" in text for text in files)
    if version != KEYED:
        assert not secrets
        assert result.frontend.pod.prepare is None
        return
    (secret,) = secrets
    assert secret["metadata"]["name"] == "demo-request-key"
    for pod in (result.frontend.pod, result.roles[PREFILL].pod, result.roles[DECODE].pod):
        assert pod.prepare is not None
        assert pod.prepare.command[-1] == "internal_request_auth_key=/etc/disagg-key/key"
        mounted = {mount.path: mount.volume for mount in pod.mounts}
        assert mounted["/etc/disagg-key"] == {"secret": {"secretName": "demo-request-key"}}
        assert mounted["/run/disagg"]["emptyDir"]["medium"] == "Memory"


def test_a_file_is_completed_inside_the_pod(tmp_path: Path) -> None:
    derived, key, complete = tmp_path / "engine.yaml", tmp_path / "key", tmp_path / "complete.yaml"
    derived.write_text("backend: pytorch\n")
    key.write_text("c0ffee\n")
    complete_settings.main(
        str(derived),
        str(complete),
        '{"disagg_cluster": {"cluster_name": "c"}}',
        f"internal_request_auth_key={key}",
    )
    assert yaml.safe_load(complete.read_text()) == {
        "backend": "pytorch",
        "disagg_cluster": {"cluster_name": "c"},
        "internal_request_auth_key": "c0ffee",
    }
    assert complete.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("mode", "called"),
    [("round-robin", "round_robin"), ("least-loaded", "load_balancing"), ("kv", "kv_cache_aware")],
)
def test_a_router_mode_has_the_name_that_trtllm_serve_knows(mode: str, called: str) -> None:
    routers = orchestrator(planned(frontend={"routerMode": mode})).routers
    assert [router["type"] for router in routers.values()] == [called, called]


def test_a_router_that_looks_for_kv_cache_compares_blocks_of_the_workers_length() -> None:
    blocks: dict[str, Any] = {
        "parallelism": {"tensor": 2},
        "engineConfig": {"kv_cache_config": {"tokens_per_block": 64}},
    }
    result = planned(KEYED, frontend={"routerMode": "kv"}, prefill=blocks, decode=blocks)
    for router in orchestrator(result).routers.values():
        assert router == {"type": "kv_cache_aware", "tokens_per_block": 64, "tokenizer_dir": "org/m"}
    for role in result.roles.values():
        cache = role.engine_config["kv_cache_config"]
        assert cache["event_buffer_max_size"] > 0
        assert cache["enable_block_reuse"] is True
    assert planned().roles[DECODE].engine_config["kv_cache_config"]["enable_block_reuse"] is False


def test_an_old_router_finds_a_tokenizer_only_by_the_name_of_the_model() -> None:
    model = {"name": "mine", "source": {"persistentVolumeClaim": {"claimName": "models"}}}
    refused("looks for a tokenizer by the name", model=model, frontend={"routerMode": "kv"})
    found = planned(KEYED, model=model, frontend={"routerMode": "kv"}).frontend.pod
    assert "/models/volume" in {mount.path for mount in found.mounts}
    assert "/models/volume" not in {mount.path for mount in planned(model=model).frontend.pod.mounts}


def test_what_the_user_writes_is_laid_over_what_is_derived() -> None:
    config = {"schedule_style": "generation_first", "max_retries": 3}
    result = planned("1.3.0rc29", frontend={"config": config})
    written = yaml.safe_load(result.frontend.files["orchestrator.yaml"])
    assert config.items() <= written.items()
    refused("there is no style", "1.3.0rc29", frontend={"config": {"schedule_style": "genfirst"}})
    by_user = [each.name for each in explained(result) if each.source == "spec.frontend.config"]
    assert by_user == ["schedule_style", "max_retries"]


def test_two_revisions_never_meet() -> None:
    assert planned().strategy == "Recreate"
    refused("must never know those of two revisions", rollout={"strategy": "Surge"})
    other = planned(env=[{"name": "A", "value": "1"}])
    first, second = (orchestrator(each).servers["context_servers"] for each in (planned(), other))
    assert not set(first) & set(second)


def test_an_orchestrator_that_waits_for_workers_is_not_restarted_for_it() -> None:
    pod = planned().frontend.pod
    paths = {"liveness": pod.liveness, "startup": pod.startup, "readiness": pod.readiness}
    assert {name: getattr(probe, "path", "") for name, probe in paths.items()} == {
        "liveness": "/version",
        "startup": "/version",
        "readiness": "/health",
    }


def test_a_pod_that_ends_waits_for_routes_and_for_readers_and_finishes_what_runs() -> None:
    result = planned(transfer={"timeoutSeconds": 45})
    drains = [
        each.drain for each in (result.frontend.pod, result.roles[PREFILL].pod, result.roles[DECODE].pod)
    ]
    assert [drain and drain.command for drain in drains] == [("sleep", "5"), ("sleep", "45"), None]
    assert result.frontend.pod.grace_seconds >= 5 + 300


def test_no_service_of_its_workers_is_taken_for_one_of_dynamos() -> None:
    services = [obj for obj in worker_objects(planned()) if obj["kind"] == "Service"]
    assert services
    assert not any("nvidia.com" in key for obj in services for key in obj["metadata"]["labels"])


def test_nothing_of_dynamo_is_in_it() -> None:
    result = planned(discovery=ETCD)
    pods = [result.frontend.pod, *(role.pod for role in result.roles.values())]
    assert not [each.name for pod in pods for each in pod.environment if each.name.startswith("DYN_")]
    assert not any("dynamo" in word for pod in pods for word in pod.command)


def test_the_list_alone_is_what_holds_workers_back() -> None:
    assert planned().frontend.listed
    assert not planned(discovery=ETCD).frontend.listed
