"""``kubectl disagg lint`` as a user calls it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GOOD = (EXAMPLES / "04-efa/llama-70b.yaml").read_text()
DOUBTFUL = f"{GOOD}  security: {{mode: IpcLock}}\n"
WRONG = f"{GOOD}  env: [{{name: FI_PROVIDER, value: tcp}}]\n"


def lint(text: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["lint", "-f", "-", *arguments], input=text)


KNOWN_DOUBTS = {"llama-70b-kv-router.yaml": {"kv-routing-shares-blocks"}}
"""What is doubtful about an example on purpose: routing by KV cache has TensorRT-LLM share blocks."""


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*/*.yaml")), ids=lambda path: path.parent.name)
def test_examples_have_nothing_wrong_and_nothing_doubtful_but_what_is_known(example: Path) -> None:
    result = CliRunner().invoke(app, ["lint", "-f", str(example), "-o", "json"])
    assert result.exit_code == 0, result.stdout
    assert {entry["rule"] for entry in json.loads(result.stdout)} == KNOWN_DOUBTS.get(example.name, set())


def test_a_fault_is_shown_with_remedy_rule_and_source_and_fails() -> None:
    result = lint(WRONG, "-o", "json")
    assert result.exit_code == 1
    (entry,) = json.loads(result.stdout)
    assert entry["severity"] == "refuse"
    assert entry["resource"] == "llama-70b"
    assert entry["field"] == "spec.env"
    assert entry["rule"] == "efa-provider"
    assert "kv-cache-transfer" in entry["source"]
    assert entry["remedy"]


def test_a_doubt_is_shown_and_fails_only_when_asked_to() -> None:
    assert lint(DOUBTFUL).exit_code == 0
    assert "privilege-proven" in lint(DOUBTFUL).stdout
    assert "0 faults, 1 warning\n" in lint(DOUBTFUL).stderr
    assert lint(DOUBTFUL, "--strict").exit_code == 1


MANY_FAULTS = """
kind: DisaggDeployment
metadata: {name: a}
spec:
  model: {name: m, source: {image: {reference: example.com/m:1}}}
  platfrom: aws-p5.48xlarge
  runtime: {engine: TRTLLM, frontend: dynamo}
  prefill: {gpusPerNode: "8", parallelism: {tensor: 4}}
  decode: {gpusPerNode: 16, parallelism: {tenosr: 16}}
  env: [{name: FI_PROVIDER, value: tcp}]
  frontend: {port: 80}
"""


def fields(text: str) -> list[str]:
    return [entry["field"] for entry in json.loads(lint(text, "-o", "json").stdout)]


def test_faults_of_header_shape_specification_and_plan_are_told_in_one_go() -> None:
    assert fields(MANY_FAULTS) == [
        "apiVersion",
        "spec.decode.gpusPerNode",  # more than the machine has, which only planning tells
        "spec.decode.parallelism.tenosr",
        "spec.env",  # contradicts the platform, whose field is misspelt
        "spec.frontend.port",
        "spec.platfrom",
        "spec.prefill.gpusPerNode",
        "spec.runtime.engine",
    ]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        # What these GPUs are for cannot be read, so whether they are as many as the ranks is not known.
        ({"parallelism: {tensor: 4}": "parallelism: {tensor: lots}"}, "spec.prefill.parallelism.tensor"),
        ({"image: {reference: example.com/m:1}": "image: {}"}, "spec.model.source.image.reference"),
        ({"name: a": "name: A"}, "metadata.name"),
        ({"value: tcp": "value: 3"}, "spec.env[0].value"),
        ({"frontend: {port: 80}": "frontend: 80"}, "spec.frontend"),
    ],
)
def test_what_may_follow_from_another_fault_is_not_told(written: dict[str, str], told: str) -> None:
    text = GOOD_IN_SHORT
    for old, new in written.items():
        assert old in text
        text = text.replace(old, new)
    assert told in fields(text)
    assert set(fields(text)) - {told} <= {"spec.frontend.port", "spec.env"}


GOOD_IN_SHORT = """
apiVersion: disagg.dev/v1alpha1
kind: DisaggDeployment
metadata: {name: a}
spec:
  model: {name: m, source: {image: {reference: example.com/m:1}}}
  platform: aws-p5.48xlarge
  runtime: {engine: trtllm, frontend: dynamo}
  prefill: {gpusPerNode: 4, parallelism: {tensor: 4}}
  decode: {gpusPerNode: 8, parallelism: {tensor: 8}}
  env: [{name: FI_PROVIDER, value: tcp}]
  frontend: {port: 80}
"""


def test_of_a_part_that_is_missing_nothing_more_is_told() -> None:
    text = "apiVersion: disagg.dev/v1alpha1\nkind: DisaggDeployment\nmetadata: {name: a}\n"
    assert fields(text) == ["spec"]


def test_an_unknown_platform_and_an_unknown_release_are_told_together() -> None:
    text = GOOD_IN_SHORT.replace("p5.48", "p5.49").replace("dynamo", "dynamo, version: 9.9.9")
    assert fields(text) == ["spec.frontend.port", "spec.platform", "spec.runtime.version"]


def test_render_tells_all_faults_too() -> None:
    result = CliRunner().invoke(app, ["render", "-f", "-"], input=MANY_FAULTS)
    assert result.exit_code == 1
    assert len([line for line in result.stderr.splitlines() if line.startswith("  ")]) == len(
        fields(MANY_FAULTS)
    )


@pytest.mark.parametrize("rule", ["efa-provider", "frontend-port-free"])
def test_what_a_deployment_allows_although_unsafe_is_shown_and_fails_nothing(rule: str) -> None:
    text = f"{GOOD_IN_SHORT}  security: {{allowUnsafe: [efa-provider, frontend-port-free]}}\n"
    result = lint(text, "--strict", "-o", "json")
    assert result.exit_code == 0
    entry = next(entry for entry in json.loads(result.stdout) if entry["rule"] == rule)
    assert entry["severity"] == "allowed"
    assert entry["fault"]
    assert rule in entry["remedy"]
    assert "0 faults, 0 warnings, 2 allowed although unsafe" in lint(text).stderr


GATED = "spec.model.source.huggingFace.tokenSecretRef"


@pytest.mark.parametrize(
    ("source", "more", "doubted"),
    [
        ("repository: meta-llama/Llama-3.3-70B-Instruct", "", True),
        ("repository: meta-llama/Llama-3.2-1B", "", True),  # gated, though its shape is not known
        ("repository: Qwen/Qwen3-32B", "", False),
        ("repository: meta-llama/Llama-3.2-1B, tokenSecretRef: {name: hf}", "", False),
        ("repository: meta-llama/Llama-3.2-1B, endpoint: http://mirror", "", False),
        ("repository: meta-llama/Llama-3.2-1B", "  env: [{name: HF_TOKEN, value: x}]\n", False),
    ],
)
def test_a_gated_repository_without_a_token_is_doubted(source: str, more: str, *, doubted: bool) -> None:
    text = (
        "apiVersion: disagg.dev/v1alpha1\nkind: DisaggDeployment\nmetadata: {name: a}\nspec:\n"
        f"  model: {{name: m, source: {{huggingFace: {{{source}}}}}}}\n"
        f"  runtime: {{engine: vllm, frontend: dynamo}}\n{more}"
    )
    assert (GATED in fields(text)) is doubted


@pytest.mark.parametrize(
    ("engine", "role", "doubted"),
    [
        ("reference", "{}", True),
        ("reference", "{devices: {rdma/ib: 1}}", False),
        ("reference", "{podTemplate: {spec: {resourceClaims: [{name: nic}]}}}", False),
        ("mocker", "{}", False),  # it moves nothing
        ("trtllm", "{}", False),  # the profile gives an adapter for each GPU
    ],
)
@pytest.mark.parametrize("platform", ["infiniband", "roce"])
def test_workers_without_an_adapter_are_doubted_on_rdma(
    platform: str, engine: str, role: str, *, doubted: bool
) -> None:
    text = (
        "apiVersion: disagg.dev/v1alpha1\nkind: DisaggDeployment\nmetadata: {name: a}\nspec:\n"
        f"  model: {{name: m, source: {{persistentVolumeClaim: {{claimName: models}}}}}}\n"
        f"  platform: {platform}\n  runtime: {{engine: {engine}, frontend: dynamo}}\n"
        f"  prefill: {role}\n  decode: {role}\n"
    )
    result = json.loads(lint(text, "-o", "json").stdout)
    found = [entry["field"] for entry in result if entry["rule"] == "devices-without-gpus"]
    assert found == (["spec.prefill.devices", "spec.decode.devices"] if doubted else [])


def sized(model: str, tensor: int, config: str = "{}", engine: str = "trtllm") -> str:
    role = f"{{gpusPerNode: {tensor}, parallelism: {{tensor: {tensor}}}, engineConfig: {config}}}"
    return (
        "apiVersion: disagg.dev/v1alpha1\nkind: DisaggDeployment\nmetadata: {name: sized}\nspec:\n"
        f"  model: {{name: {model}, source: {{huggingFace: {{repository: {model}}}}}}}\n"
        f"  platform: aws-p5.48xlarge\n  runtime: {{engine: {engine}, frontend: dynamo}}\n"
        f"  prefill: {role}\n  decode: {role}\n"
    )


LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"


@pytest.mark.parametrize(
    ("text", "doubted"),
    [
        (sized(LLAMA_70B, 4), []),
        (sized(LLAMA_70B, 2), []),
        (sized(LLAMA_70B, 3), ["model-heads-divide"]),
        (sized(LLAMA_70B, 1), ["model-weights-fit"]),
        (sized("someone/Llama-3.3-70B-of-mine", 3), []),
        (sized(LLAMA_70B, 1, "{quant_config: {quant_algo: NVFP4}}"), []),
        (sized("deepseek-ai/DeepSeek-R1", 3, "{enable_attention_dp: true}"), []),
        (sized("meta-llama/Llama-3.1-405B-Instruct", 8), ["model-weights-fit"]),
    ],
)
def test_gpus_that_a_known_model_cannot_be_on_are_doubted_and_never_refused(
    text: str, doubted: list[str]
) -> None:
    result = lint(text, "-o", "json")
    assert result.exit_code == 0, result.stdout
    found = [entry for entry in json.loads(result.stdout) if entry["rule"].startswith("model-")]
    assert [entry["rule"] for entry in found] == [rule for rule in doubted for _ in range(2)]
    for entry in found:
        assert entry["severity"] == "warn"
        assert entry["field"].startswith(("spec.prefill.parallelism", "spec.decode.parallelism"))
        assert entry["source"].startswith("docs/sizing.md#")


def test_gpus_without_parallelism_are_told_which_parallelism_uses_them() -> None:
    text = sized(LLAMA_70B, 4).replace(", parallelism: {tensor: 4}", "")
    remedies = {entry["remedy"] for entry in json.loads(lint(text, "-o", "json").stdout)}
    assert remedies == {"Make gpusPerNode x nodesPerReplica 1, or write parallelism: {tensor: 4}"}


def test_several_files_are_checked_together() -> None:
    files = [f"-f{EXAMPLES}/01-quickstart/smollm2.yaml", f"-f{EXAMPLES}/02-tuned/smollm2.yaml"]
    result = CliRunner().invoke(app, ["lint", *files, "-o", "json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_a_file_that_cannot_be_read_is_named_without_a_trace() -> None:
    result = CliRunner().invoke(app, ["lint", "-f", "no-such-file.yaml"])
    assert result.exit_code == 1
    assert "no-such-file.yaml" in result.stderr
    assert "Traceback" not in result.stderr
