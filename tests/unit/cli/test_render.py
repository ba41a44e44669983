"""``kubectl disagg render`` as a user calls it."""

from pathlib import Path

import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/01-quickstart/smollm2.yaml"


def render(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["render", *arguments], input=text)


def test_standard_input_renders_like_the_file() -> None:
    assert render("-f", "-", text=EXAMPLE.read_text()).stdout == render("-f", str(EXAMPLE)).stdout


def test_the_manifests_are_one_yaml_stream() -> None:
    kinds = [document["kind"] for document in yaml.safe_load_all(render("-f", str(EXAMPLE)).stdout)]
    assert sorted(kinds) == sorted(
        [
            "ServiceAccount",
            "RoleBinding",
            "Deployment",
            *["Service"] * 3,
            *["ConfigMap"] * 2,
            *["StatefulSet"] * 2,
        ]
    )


def test_a_resource_without_a_namespace_gets_the_one_asked_for() -> None:
    result = render("-f", str(EXAMPLE), "-n", "team-a")
    assert {document["metadata"]["namespace"] for document in yaml.safe_load_all(result.stdout)} == {"team-a"}


def test_a_wrong_resource_is_refused_with_field_fault_and_remedy() -> None:
    result = render("-f", "-", text=EXAMPLE.read_text().replace("platform: local", "platform: locale"))
    assert result.exit_code == 1
    assert "spec.platform" in result.stderr
    assert "local" in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout


def test_a_missing_file_and_broken_yaml_are_named() -> None:
    missing = render("-f", "no-such-file.yaml")
    assert (missing.exit_code, "no-such-file.yaml" in missing.stderr) == (1, True)
    broken = render("-f", "-", text="a: [1")
    assert (broken.exit_code, "standard input: not YAML" in broken.stderr) == (1, True)
    other = render("-f", "-", text="kind: ConfigMap")
    assert (other.exit_code, "ConfigMap" in other.stderr) == (1, True)


def test_explain_names_the_source_of_each_variable() -> None:
    result = render("-f", str(EXAMPLE), "--explain")
    assert "DYN_NAMESPACE_WORKER_SUFFIX" in result.stdout
    assert "Dynamo 1.6.1" in result.stdout
