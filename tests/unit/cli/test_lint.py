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
    assert "0 faults, 1 warnings" in lint(DOUBTFUL).stderr
    assert lint(DOUBTFUL, "--strict").exit_code == 1


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
