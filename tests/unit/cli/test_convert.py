"""``kubectl disagg convert`` as a user calls it, on real DynamoGraphDeployments (graphs/README.md)."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.api.parse import accept
from disagg_operator.cli.convert.ledger import UNKNOWN
from disagg_operator.cli.main import app
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.routing import conditional_disaggregation

GRAPHS = Path(__file__).resolve().parent / "graphs"
AGGREGATED = {"trtllm-agg-with-config.yaml", "vllm-agg.yaml"}
DISAGGREGATED = sorted(path for path in GRAPHS.glob("*.yaml") if path.name not in AGGREGATED)


def convert(file: str | Path, *arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["convert", "-f", str(file), *arguments], input=text)


@cache
def told_as_text(name: str, *arguments: str) -> str:
    result = convert(GRAPHS / name, "-o", "json", *arguments)
    assert result.exit_code in (0, 3), result.stderr
    return result.stdout


def told(name: str, *arguments: str) -> dict[str, Any]:
    (report,) = json.loads(told_as_text(name, *arguments))
    return dict(report)


def spec_of(name: str, *arguments: str) -> dict[str, Any]:
    return dict(told(name, *arguments)["resource"]["spec"])


def planned(name: str) -> Plan:
    document = told(name)
    assert not document["problems"]
    return plan(accept(document["resource"]), Installation(worker_image="disagg-worker:latest"))


def fields(report: dict[str, Any], **wanted: str) -> list[dict[str, str]]:
    return [each for each in report["fields"] if all(each[key] == value for key, value in wanted.items())]


def choice(document: dict[str, Any], what: str) -> dict[str, str]:
    (found,) = [dict(each) for each in document["choices"] if each["what"] == what]
    return found


def changed(name: str, *changes: tuple[str, str]) -> str:
    text = (GRAPHS / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


# --- every field is accounted for


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            plain = re.fullmatch(r"[-\w]+", str(key))
            yield from leaves(below, f"{path}.{key}".lstrip(".") if plain else f'{path}["{key}"]')
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            name = entry.get("name") if isinstance(entry, dict) else None
            yield from leaves(entry, f"{path}[{name or number}]")
    elif value is not None:
        yield path, value


def is_told(path: str, noted: set[str]) -> bool:
    return any(path == each or re.match(rf"{re.escape(each)}[.\[ ]", path) for each in noted)


def is_told_by_flags(path: str, value: str, noted: set[str]) -> bool:
    """Tell whether all flags of a word or line of a command are told of, below its container."""
    words = shlex.split(value) if " " in value else [value]
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    container = re.sub(r"\.(command|args)\[\d+\]$", "", path)
    below = {each.split(" ", 1)[1] for each in noted if re.match(rf"{re.escape(container)}\.\w+ ", each)}
    return bool(below) and all(any(is_told(each, {flag}) for each in below) for flag in flags)


@pytest.mark.parametrize("graph", DISAGGREGATED, ids=lambda path: path.stem)
def test_every_field_of_the_input_is_told_of(graph: Path) -> None:
    document = told(graph.name)
    assert not [each["field"] for each in document["fields"] if each["why"] == UNKNOWN]
    for content in yaml.safe_load_all(graph.read_text()):
        name = f"{content['kind']}/{content['metadata']['name']}"
        noted = {each["field"] for each in document["fields"] if each["document"] == name}
        whole = "" in noted
        for path, value in leaves(content):
            if re.search(r"\.(command|args)\[\d+\]$", path) and not is_told(path, noted):
                assert is_told_by_flags(path, str(value), noted), path
            elif content["kind"] == "ConfigMap" and path.startswith("data"):
                for inner, _ in leaves(yaml.safe_load(value), path):
                    assert is_told(inner, noted), inner
            else:
                assert whole or is_told(path, noted), path


@pytest.mark.parametrize("graph", DISAGGREGATED, ids=lambda path: path.stem)
def test_what_is_not_written_has_a_reason_and_what_is_has_a_field(graph: Path) -> None:
    for each in told(graph.name)["fields"]:
        assert each["to"] if each["fate"] == "mapped" else each["why"], each


def test_a_field_that_nobody_knows_is_told_of_as_dropped() -> None:
    text = changed(
        "trtllm-disagg.yaml",
        (
            "      subComponentType: prefill\n",
            "      subComponentType: prefill\n      novelty: {of: tomorrow}\n",
        ),
    )
    result = convert("-", "-o", "json", text=text)
    (document,) = json.loads(result.stdout)
    (note,) = fields(document, field="spec.services.TRTLLMPrefillWorker.novelty.of")
    assert (note["fate"], note["value"], note["why"]) == ("dropped", "tomorrow", UNKNOWN)


def test_the_report_lists_what_was_dropped_and_why_beside_the_resource() -> None:
    result = convert(GRAPHS / "trtllm-disagg.yaml")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["kind"] == "DisaggDeployment"
    assert "engine_configs/qwen3/prefill.yaml is a file of the image" in result.stderr
    assert "by sub-type: spec.services.TRTLLMDecodeWorker.subComponentType is decode" in result.stderr


def test_explain_shows_mapped_fields_too_and_no_resource() -> None:
    result = convert(GRAPHS / "trtllm-disagg.yaml", "--explain")
    assert "spec.services.Frontend.replicas" in result.stdout
    assert "spec.frontend.replicas" in result.stdout
    assert "kind: DisaggDeployment" not in result.stdout


# --- roles


def test_a_role_is_found_by_sub_type_first() -> None:
    document = told("sglang-disagg.yaml")
    assert choice(document, "prefill")["how"].startswith("by sub-type: ")
    assert choice(document, "decode")["value"] == "decode"


def test_the_newer_version_says_the_role_by_the_type() -> None:
    how = choice(told("sglang-disagg-multinode-v1beta1.yaml"), "decode")["how"]
    assert how == "by sub-type: spec.components[decode].type is decode"


def test_a_role_without_sub_type_is_found_by_its_flag() -> None:
    document = told("trtllm-gpt-oss-120b-disagg.yaml")
    assert choice(document, "prefill")["how"] == "by flag: --disaggregation-mode prefill"
    assert choice(document, "decode")["value"] == "TrtllmDecodeWorker"


def test_a_role_without_sub_type_and_flag_is_found_by_its_name() -> None:
    document = told("vllm-disagg-kvbm.yaml")
    assert choice(document, "prefill")["how"] == "by flag: --is-prefill-worker"
    assert choice(document, "decode")["how"] == "by name: VllmDecodeWorker holds decode"


@pytest.mark.parametrize("name", sorted(AGGREGATED))
def test_an_aggregated_graph_is_refused_with_what_to_do(name: str) -> None:
    result = convert(GRAPHS / name)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "is aggregated, not disaggregated" in result.stderr
    assert "subComponentType" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_role_that_contradicts_itself_is_refused() -> None:
    text = changed("trtllm-disagg.yaml", ("            - prefill", "            - decode"))
    result = convert("-", text=text)
    assert result.exit_code == 1
    assert "TRTLLMPrefillWorker contradicts itself: by sub-type" in result.stderr


def test_two_components_of_a_role_are_refused() -> None:
    text = changed(
        "trtllm-disagg.yaml",
        ("subComponentType: decode", "subComponentType: prefill"),
        ("            - decode", "            - prefill"),
    )
    result = convert("-", text=text)
    assert result.exit_code == 1
    assert "several components are prefill: TRTLLMPrefillWorker, TRTLLMDecodeWorker" in result.stderr


# --- what the resource says, and that it plans to the same


def test_efa_and_nixl_of_the_page_on_transfer_come_out_as_the_page_has_them() -> None:
    found = planned("trtllm-efa-page.yaml")
    assert str(found.transfer) == "NIXL/UCX"
    prefill, decode = found.roles["prefill"], found.roles["decode"]
    assert (prefill.replicas, prefill.nodes, prefill.gpus) == (4, 1, 2)
    assert (decode.replicas, decode.nodes, decode.gpus) == (1, 2, 8)
    assert {each.name: each.count for each in prefill.pod.devices}["vpc.amazonaws.com/efa"] == 8
    assert decode.engine_config["kv_cache_config"]["free_gpu_memory_fraction"] == pytest.approx(0.75)
    assert prefill.engine_config["max_num_tokens"] == 8192
    assert decode.pod.image == "nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1-efa-amd64"


def test_what_a_flag_lays_over_the_file_wins_and_the_other_is_told_of() -> None:
    report = told("trtllm-efa-page.yaml")
    (over,) = fields(report, value="0.7")
    (kept,) = fields(report, value="0.75")
    assert (over["fate"], over["why"]) == ("dropped", "what is written later wins over it")
    assert kept["to"] == "spec.decode.engineConfig.kv_cache_config.free_gpu_memory_fraction"


def test_nothing_is_written_that_the_platform_derives_alike() -> None:
    spec = spec_of("trtllm-efa-page.yaml")
    assert spec["platform"] == "aws-p5.48xlarge"
    assert not {"env", "security"} & set(spec)
    assert not {"env", "devices", "podTemplate"} & {*spec["prefill"], *spec["decode"]}
    assert "image" not in spec["runtime"]


def test_the_larger_of_two_transfer_buffers_counts_for_both_roles() -> None:
    document = told("trtllm-efa-page.yaml")
    assert document["resource"]["spec"]["transfer"]["maxTokensInBuffer"] == 8192
    reasons = [each["why"] for each in fields(document, to="spec.transfer.maxTokensInBuffer")]
    assert "both roles have the larger of their two buffers" in reasons


def test_wide_expert_parallelism_on_gb200_plans_to_the_same_ranks_and_domain() -> None:
    found = planned("trtllm-deepseek-r1-gb200.yaml")
    decode = found.roles["decode"]
    assert (decode.nodes, decode.gpus) == (8, 4)
    assert decode.engine_config["tensor_parallel_size"] == 32
    assert decode.engine_config["moe_expert_parallel_size"] == 32
    assert decode.engine_config["moe_config"] == {"backend": "WIDEEP"}
    assert decode.engine_config["cache_transceiver_config"]["max_tokens_in_buffer"] == 4608
    assert found.compute_domain is not None
    assert found.compute_domain.nodes == 9
    assert found.roles["prefill"].engine_config["cuda_graph_config"] is None


def test_a_compute_domain_beside_the_graph_makes_the_platform_one_with_nvlink_between_nodes() -> None:
    document = told("trtllm-deepseek-r1-gb200.yaml")
    assert choice(document, "platform")["value"] == "gb200-nvl72"
    assert "a ComputeDomain" in choice(document, "platform")["how"]
    assert fields(document, document="ComputeDomain/trtllm-test-compute-domain", fate="derived")


def test_a_model_on_a_claim_keeps_its_directory() -> None:
    source = spec_of("trtllm-deepseek-r1-gb200.yaml")["model"]["source"]
    assert source == {"persistentVolumeClaim": {"claimName": "model-cache", "path": "deepseek-r1-fp4"}}


@pytest.mark.parametrize(
    ("name", "config_maps"),
    [
        ("trtllm-deepseek-r1-gb200.yaml", {"prefill": "prefill-config", "decode": "decode-config"}),
        ("trtllm-gpt-oss-120b-disagg.yaml", {"prefill": "llm-config", "decode": "llm-config"}),
        ("trtllm-disagg-multinode.yaml", {"prefill": "nvidia-config", "decode": "nvidia-config"}),
    ],
)
def test_engines_get_every_setting_of_the_files_in_config_maps(
    name: str, config_maps: dict[str, str]
) -> None:
    documents = list(yaml.safe_load_all((GRAPHS / name).read_text()))
    for role, plan_of_role in planned(name).roles.items():
        (data,) = [each["data"] for each in documents if each["metadata"]["name"] == config_maps[role]]
        (file,) = [text for key, text in data.items() if key.startswith(role)]
        for key, value in leaves(yaml.safe_load(file)):
            if key == "cache_transceiver_config.backend" and value == "DEFAULT":
                continue  # the release's own is written in its place
            found: Any = plan_of_role.engine_config
            for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
                found = found[int(part)] if part.isdigit() else found.get(part)
            if key.endswith("parallel_size"):
                found = found or 1  # TensorRT-LLM's own default, which is not written
            assert found == value, (role, key)


def test_a_volume_of_the_hubs_library_becomes_the_cache() -> None:
    source = spec_of("vllm-llama-3-70b-disagg.yaml")["model"]["source"]["huggingFace"]
    assert source["cache"] == {"persistentVolumeClaim": {"claimName": "model-cache"}}
    spec = spec_of("vllm-llama-3-70b-disagg.yaml")
    assert "env" not in spec
    assert "podTemplate" not in spec["prefill"]


def test_a_volume_that_other_variables_name_stays_mounted_beside_the_cache() -> None:
    more = "            - name: HF_HOME\n              value: /opt/models\n"
    text = changed(
        "vllm-llama-3-70b-disagg.yaml",
        (more, f"{more}            - name: TRITON_CACHE_DIR\n              value: /opt/models/triton\n"),
    )
    (report,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert not report["problems"]
    (container,) = report["resource"]["spec"]["decode"]["podTemplate"]["spec"]["containers"]
    assert container["volumeMounts"] == [{"name": "model-cache", "mountPath": "/opt/models"}]
    assert report["resource"]["spec"]["env"] == [{"name": "TRITON_CACHE_DIR", "value": "/opt/models/triton"}]


def test_variables_of_the_command_are_put_in_and_not_carried_on() -> None:
    spec = spec_of("trtllm-gpt-oss-120b-disagg.yaml")
    assert spec["model"]["source"]["persistentVolumeClaim"]["path"].startswith("hub/models--openai--gpt-oss")
    names = {each["name"] for each in spec["env"]}
    assert {"TRTLLM_ENABLE_PDL", "OVERRIDE_QUANT_ALGO"} <= names
    assert not {"MODEL_PATH", "ENGINE_ARGS", "HF_HOME"} & names
    assert str(planned("trtllm-gpt-oss-120b-disagg.yaml").transfer) == "UCX"


def test_devices_and_a_domain_together_find_the_machine_that_has_both() -> None:
    document = told("sglang-glm-5-gb200-efa.yaml")
    assert choice(document, "platform")["value"] == "aws-p6e-gb200.36xlarge"
    spec = document["resource"]["spec"]
    assert spec["transfer"] == {"nixlBackend": "LIBFABRIC"}
    assert spec["placement"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-GB200"}
    assert spec["decode"]["parallelism"] == {"tensor": 16, "expert": 16}
    assert spec["model"]["source"]["huggingFace"]["tokenSecretRef"] == {
        "name": "hf-token-secret",
        "key": "HF_TOKEN",
    }


def test_a_device_of_infiniband_finds_a_platform_and_names_the_others_that_fit() -> None:
    how = choice(told("vllm-deepseek-r1-hopper.yaml"), "platform")
    assert how["value"] == "infiniband"
    assert "roce" in how["how"]


def test_a_label_of_the_nodes_names_the_machine() -> None:
    text = changed(
        "trtllm-disagg.yaml",
        (
            "      extraPodSpec:\n",
            "      extraPodSpec:\n        nodeSelector: {node.kubernetes.io/instance-type: p5en.48xlarge}\n",
        ),
    )
    (document,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert choice(document, "platform")["value"] == "aws-p5en.48xlarge"


def test_the_user_may_name_platform_and_version() -> None:
    spec = spec_of("trtllm-disagg.yaml", "--platform", "aws-p5.48xlarge", "--runtime-version", "1.3.1")
    assert (spec["platform"], spec["runtime"]["version"]) == ("aws-p5.48xlarge", "1.3.1")


def test_a_planner_is_dropped_with_what_to_use_instead() -> None:
    for name in ("trtllm-disagg-planner.yaml", "trtllm-disagg-planner-v1beta1.yaml"):
        dropped = [each for each in fields(told(name), fate="dropped") if "Planner" in each["field"]]
        assert [each["why"] for each in dropped] == [
            "Dynamo's planner changes DynamoGraphDeployments only: scale by spec.scaling with HPA or KEDA "
            "(docs/scaling.md)"
        ]


def test_an_endpoint_picker_and_frontends_beside_workers_are_dropped() -> None:
    document = told("vllm-gaie-disagg-v1beta1.yaml")
    dropped = {each["field"]: each["why"] for each in fields(document, fate="dropped")}
    assert "no endpoint picker" in dropped["spec.components[Epp]"]
    sidecar = "spec.components[VllmDecodeWorker].podTemplate.spec.containers[sidecar-frontend]"
    assert "pods of its own" in dropped[sidecar]
    assert choice(document, "frontend")["how"].startswith("the graph has none")


def test_flags_of_engines_without_a_file_become_their_configuration() -> None:
    role = spec_of("sglang-disagg-multinode-v1beta1.yaml")["decode"]
    assert role["engineConfig"]["mem-fraction-static"] == pytest.approx(0.82)
    assert role["engineConfig"]["trust-remote-code"] is True
    assert (role["nodesPerReplica"], role["gpusPerNode"], role["parallelism"]) == (2, 4, {"tensor": 8})


def test_variables_that_kubernetes_puts_into_commands_are_put_in() -> None:
    text = changed(
        "trtllm-disagg.yaml",
        (
            "            - --model-path\n            - Qwen/Qwen3-0.6B\n",
            "            - --model-path\n            - $(WHICH)\n",
        ),
        (
            "      replicas: 1\n      resources",
            "      replicas: 1\n      envs: [{name: WHICH, value: a/b}]\n      resources",
        ),
    )
    (report,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert report["resource"]["spec"]["model"]["source"]["huggingFace"]["repository"] == "a/b"
    assert "env" not in report["resource"]["spec"]


def test_secrets_other_than_the_hubs_stay_variables() -> None:
    text = changed(
        "trtllm-disagg.yaml",
        (
            "envFromSecret: hf-token-secret\n      componentType: worker",
            "envFromSecret: s3\n      componentType: worker",
        ),
    )
    (report,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    (container,) = report["resource"]["spec"]["prefill"]["podTemplate"]["spec"]["containers"]
    assert container == {"name": "worker", "envFrom": [{"secretRef": {"name": "s3"}}]}
    assert not report["problems"]


def test_what_only_pods_have_fields_for_goes_into_the_pod_template() -> None:
    text = changed(
        "trtllm-disagg.yaml",
        (
            "        mainContainer:\n          image",
            "        priorityClassName: high\n"
            "        initContainers: [{name: warm, image: busybox}]\n"
            "        volumes: [{name: tls, secret: {secretName: tls}}]\n"
            "        mainContainer:\n"
            "          securityContext: {runAsUser: 1000}\n"
            "          volumeMounts: [{name: tls, mountPath: /tls}]\n"
            "          image",
        ),
    )
    (report,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert not report["problems"]
    for part, container in (("prefill", "worker"), ("decode", "worker"), ("frontend", "frontend")):
        template = report["resource"]["spec"][part]["podTemplate"]["spec"]
        assert template["priorityClassName"] == "high"
        assert template["initContainers"] == [{"name": "warm", "image": "busybox"}]
        assert template["volumes"] == [{"name": "tls", "secret": {"secretName": "tls"}}]
        assert template["containers"] == [
            {
                "name": container,
                "securityContext": {"runAsUser": 1000},
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
            }
        ]


def test_secrets_of_the_registry_are_those_of_all_pods() -> None:
    pull = ("      extraPodSpec:\n", "      extraPodSpec:\n        imagePullSecrets: [{name: ngc}]\n")
    (report,) = json.loads(convert("-", "-o", "json", text=changed("trtllm-disagg.yaml", pull)).stdout)
    assert report["resource"]["spec"]["runtime"]["imagePullSecrets"] == [{"name": "ngc"}]
    assert len(fields(report, to="spec.runtime.imagePullSecrets")) == 3


def test_an_empty_scaling_adapter_is_told_of() -> None:
    text = changed(
        "sglang-disagg-multinode-v1beta1.yaml",
        ("    replicas: 1\n    type: prefill", "    replicas: 1\n    scalingAdapter: {}\n    type: prefill"),
    )
    (report,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    (note,) = fields(report, field="spec.components[prefill].scalingAdapter")
    assert "spec.scaling.prefill" in note["why"]


def test_steps_of_a_shell_are_told_of() -> None:
    dropped = [each["value"] for each in fields(told("vllm-disagg-gke.yaml"), fate="dropped")]
    assert "/sbin/ldconfig" in dropped


def test_kv_block_manager_of_prefill_has_fields_of_its_own() -> None:
    assert spec_of("vllm-disagg-kvbm.yaml")["transfer"]["kvbm"] == {"cpuCacheGb": 100}


def test_flags_of_the_router_that_have_a_variable_are_written_as_such() -> None:
    report = told("trtllm-disagg-planner-v1beta1.yaml")
    frontend = report["resource"]["spec"]["frontend"]
    assert frontend["routerMode"] == "kv"
    assert {"name": "DYN_ROUTER_TEMPERATURE", "value": "0.0"} in frontend["env"]
    (note,) = [each for each in report["fields"] if each["field"].endswith(" --no-router-kv-events")]
    assert note["fate"] == "dropped"


def test_what_the_router_leaves_to_decode_comes_out_as_it_went_in() -> None:
    asked = {
        "policy": "isl_or_load",
        "eff_isl_threshold": 2049,
        "eff_isl_ratio_threshold": 0.7,
        "prefill_busy_threshold": 1.5,
    }
    quoted = json.dumps(json.dumps(asked))
    flag = (
        "            - --no-kv-events\n",
        f"            - --router-conditional-disagg-config\n            - {quoted}\n",
    )
    (report,) = json.loads(
        convert("-", "-o", "json", text=changed("trtllm-disagg-planner.yaml", flag)).stdout
    )
    assert report["resource"]["spec"]["localPrefill"] == {
        "prefixHit": {"maxNewTokens": 2048, "minPercent": 30},
        "prefillLoadPercent": 150,
    }
    assert conditional_disaggregation(accept(report["resource"]).spec) == asked


def test_parsers_of_a_worker_become_variables_of_releases_that_read_them() -> None:
    flags = (
        "            - prefill\n",
        "            - prefill\n            - --dyn-tool-call-parser\n            - hermes\n",
    )
    text = changed("trtllm-disagg.yaml", flags)
    (newest,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert newest["resource"]["spec"]["prefill"]["env"] == [
        {"name": "DYN_TOOL_CALL_PARSER", "value": "hermes"}
    ]
    (old,) = json.loads(convert("-", "-o", "json", "--runtime-version", "0.9.1", text=text).stdout)
    (note,) = [each for each in old["fields"] if each["field"].endswith(" --dyn-tool-call-parser")]
    assert note["fate"] == "dropped"


def test_data_parallel_ranks_are_told_of_as_more_replicas() -> None:
    report = told("vllm-deepseek-r1-hopper.yaml")
    dropped = [
        each for each in fields(report, fate="dropped") if each["field"].endswith("--data-parallel-size")
    ]
    assert [each["why"].split(":")[0] for each in dropped] == ["the operator runs no data parallel ranks"] * 2


def test_services_that_are_named_are_used() -> None:
    wiring = (
        "      subComponentType: prefill\n"
        "      envs:\n"
        "      - {name: NATS_SERVER, value: 'nats://nats:4222'}\n"
        "      - {name: ETCD_ENDPOINTS, value: 'etcd-0:2379,etcd-1:2379'}\n"
    )
    text = changed("trtllm-disagg.yaml", ("      subComponentType: prefill\n", wiring))
    (document,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert document["resource"]["spec"]["discovery"] == {
        "etcd": {"endpoints": ["http://etcd-0:2379", "http://etcd-1:2379"]},
        "nats": {"server": "nats://nats:4222"},
    }


def test_a_release_that_is_not_known_is_replaced_by_the_nearest_and_keeps_its_image() -> None:
    image = "nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime"
    document = told("trtllm-deepseek-r1-gb200.yaml")
    assert document["resource"]["spec"]["runtime"]["image"] == f"{image}:0.8.0"
    assert "0.8.0; of 0.8.1, the same but for fixes" in choice(document, "version")["how"]
    text = changed("trtllm-deepseek-r1-gb200.yaml", (f"{image}:0.8.0", f"{image}:0.5.0"))
    (older,) = json.loads(convert("-", "-o", "json", text=text).stdout)
    assert older["resource"]["spec"]["runtime"]["image"] == f"{image}:0.5.0"
    assert "0.5.0, of which nothing is known" in choice(older, "version")["how"]


REFUSED = {
    "vllm-deepseek-r1-hopper.yaml": "spec.decode.gpusPerNode",  # data parallel ranks, which there are none of
    "vllm-gaie-disagg-v1beta1.yaml": "spec.env",  # UCX_TLS without CUDA
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_a_graph_says_wrong_or_has_no_place_here_is_named(name: str) -> None:
    assert REFUSED[name] in {each["field"] for each in told(name)["problems"]}


@pytest.mark.parametrize(
    "name",
    [each.name for each in DISAGGREGATED if each.name not in REFUSED],
)
def test_every_other_graph_is_accepted(name: str) -> None:
    assert {*planned(name).roles} == {"prefill", "decode"}


def test_vllm_and_sglang_get_their_flags_and_the_transfer_of_the_graph() -> None:
    llama = planned("vllm-llama-3-70b-disagg.yaml")
    assert [llama.roles[role].gpus for role in ("prefill", "decode")] == [2, 4]
    assert str(llama.transfer) == "NIXL/UCX"
    command = " ".join(llama.roles["decode"].pod.command)
    assert "--gpu-memory-utilization 0.9" in command
    assert "--no-enable-prefix-caching" in command
    glm = planned("sglang-glm-5-gb200-efa.yaml")
    assert str(glm.transfer) == "NIXL/LIBFABRIC"
    decode = glm.roles["decode"]
    assert (decode.nodes, decode.gpus) == (4, 4)
    assert "--enable-dp-attention" in decode.pod.command
    assert glm.compute_domain is not None
    assert glm.compute_domain.nodes == 5


# --- the command


JUNK: tuple[Any, ...] = (
    None,
    "",
    0,
    -1,
    True,
    "text",
    [],
    {},
    ["a"],
    {"a": 1},
    [None],
    "1Gi",
    "--x='",
    {"a": {"b": "c"}},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, below in entries:
        yield from places(below, (*path, key))


@pytest.mark.parametrize("graph", DISAGGREGATED, ids=lambda path: path.stem)
def test_a_graph_with_nonsense_in_it_is_converted_or_refused_in_words(graph: Path) -> None:
    chance = Random(graph.name)  # noqa: S311 - the same nonsense every time
    for _ in range(5):
        documents = list(yaml.safe_load_all(graph.read_text()))
        *parents, last = chance.choice([path for path in places(documents) if len(path) > 2])
        target: Any = documents
        for key in parents:
            target = target[key]
        target[last] = chance.choice(JUNK)
        result = convert("-", text=yaml.safe_dump_all(documents))
        assert result.exception is None or isinstance(result.exception, SystemExit), (parents, last)
        assert result.exit_code in (0, 1, 3)


def test_the_page_in_the_docs_shows_what_the_command_prints() -> None:
    page = (GRAPHS.parents[3] / "docs" / "convert.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert convert(GRAPHS / "trtllm-efa-page.yaml").stdout == f"---\n{shown}"
    for each in told("trtllm-efa-page.yaml")["choices"]:
        assert f"- {each['what']}: `{each['value']}`, {each['how']}" in page


def test_what_the_operator_would_refuse_is_shown_and_said_by_the_exit_code() -> None:
    text = changed("trtllm-disagg.yaml", ('gpu: "1"', 'gpu: "99"'))
    result = convert("-", text=text)
    assert result.exit_code == 3
    assert "the operator would refuse it" in result.stderr
    assert "spec.prefill.gpusPerNode" in result.stderr
    assert yaml.safe_load(result.stdout)["kind"] == "DisaggDeployment"


def test_yaml_is_the_resource_alone_and_can_be_rendered(tmp_path: Path) -> None:
    result = convert(GRAPHS / "trtllm-efa-page.yaml", "-o", "yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    file = tmp_path / "llama.yaml"
    file.write_text(result.stdout)
    rendered = CliRunner().invoke(app, ["render", "-f", str(file)])
    assert rendered.exit_code == 0, rendered.stderr
    pods = [
        each["spec"]["template"]["spec"]["containers"][0]
        for each in yaml.safe_load_all(rendered.stdout)
        if each["kind"] == "StatefulSet"
    ]
    assert [each["resources"]["limits"]["vpc.amazonaws.com/efa"] for each in pods] == ["8", "32"]


def test_the_same_input_gives_the_same_bytes() -> None:
    graph = GRAPHS / "trtllm-gpt-oss-120b-disagg.yaml"
    assert convert(graph).stdout == convert(graph).stdout


def test_a_list_as_the_cluster_gives_it_is_read_and_what_the_server_wrote_is_left_out() -> None:
    graph = yaml.safe_load((GRAPHS / "trtllm-disagg.yaml").read_text())
    graph["metadata"] |= {"uid": "1", "namespace": "llms", "managedFields": [{"manager": "kubectl"}]}
    graph["status"] = {"state": "successful"}
    result = convert(
        "-", "-o", "json", text=json.dumps({"kind": "List", "apiVersion": "v1", "items": [graph]})
    )
    (document,) = json.loads(result.stdout)
    assert document["resource"]["metadata"] == {"name": "trtllm-disagg", "namespace": "llms"}
    assert fields(document, field="metadata.uid", fate="dropped")


def test_a_file_without_a_graph_names_what_it_holds() -> None:
    result = convert("-", text="kind: ConfigMap\nmetadata: {name: x}\n")
    assert result.exit_code == 1
    assert "holds no DynamoGraphDeployment of nvidia.com (found: ConfigMap)" in result.stderr


def test_a_version_that_is_not_known_is_refused() -> None:
    text = changed("trtllm-disagg.yaml", ("nvidia.com/v1alpha1", "nvidia.com/v2"))
    result = convert("-", text=text)
    assert result.exit_code == 1
    assert "nvidia.com/v2 is not known" in result.stderr
