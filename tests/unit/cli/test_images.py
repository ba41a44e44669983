"""``kubectl disagg images`` as a user calls it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app
from disagg_operator.cli.needed_images import laid_over
from disagg_operator.platforms.catalogue import services
from unit.cli.test_completion import complete

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EFA = EXAMPLES / "04-efa" / "llama-70b.yaml"
VALUES: dict[str, Any] = {
    "global": {"imageRegistry": "mirror:5000/"},
    "image": {"repository": "ours/disagg-operator", "tag": "1.2.3"},
    "worker": {"image": "mirror:5000/ours/disagg-worker:1.2.3"},
    "discovery": {"etcd": {"image": "mirror:5000/coreos/etcd:v3"}},
}


def images(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["images", *map(str, arguments)], input=text)


def listed(*arguments: str | Path) -> dict[str, dict[str, Any]]:
    """Return what is listed by image, as JSON has it."""
    result = images(*arguments, "-o", "json")
    assert result.exit_code == 0, result.stderr
    return {entry["image"]: entry for entry in json.loads(result.stdout)}


@pytest.fixture
def values(tmp_path: Path) -> Path:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    return file


def test_without_a_file_all_that_the_chart_may_need_is_listed() -> None:
    found = listed()
    assert [image.partition(":")[0] for image in found][:2] == ["disagg-operator", "disagg-worker"]
    assert [entry["inRegistry"] for entry in found.values()] == [False, False, True, True]
    assert list(found)[2:] == [service.image.value for service in services().values()]


def test_values_say_which_images_the_chart_has(values: Path, tmp_path: Path) -> None:
    assert list(listed("--values", values)) == [
        "mirror:5000/ours/disagg-operator:1.2.3",
        "mirror:5000/ours/disagg-worker:1.2.3",
        "mirror:5000/coreos/etcd:v3",
        services()["nats"].image.value,
    ]
    over = tmp_path / "over.yaml"
    over.write_text("image: {digest: 'sha256:abc'}")
    (operator, *_) = listed("--values", values, "--values", over)
    assert operator == "mirror:5000/ours/disagg-operator@sha256:abc"


def test_files_of_values_are_laid_over_each_other_as_by_helm() -> None:
    values = {"a": {"b": 1, "c": 2}, "list": [{"name": "x", "is": 1}], "gone": 1}
    others = {"a": {"b": 3}, "list": [{"name": "x"}], "gone": None}
    assert laid_over(values, others) == {"a": {"b": 3, "c": 2}, "list": [{"name": "x"}]}


def test_of_services_only_those_that_a_deployment_needs_are_listed(values: Path) -> None:
    assert not [
        image for image in listed("-f", EFA, "--values", values) if "etcd" in image or "nats" in image
    ]
    with_etcd = listed("-f", EXAMPLES / "12-trtllm-serve" / "llama-405b-etcd.yaml", "--values", values)
    (use,) = with_etcd["mirror:5000/coreos/etcd:v3"]["neededBy"]
    assert use["source"] == "the chart's discovery.etcd.image"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("1[26]-*/*.yaml")), ids=lambda path: path.stem)
def test_all_that_the_manifests_run_is_listed_with_its_origin(example: Path, values: Path) -> None:
    worker = VALUES["worker"]["image"]
    made = CliRunner().invoke(app, ["render", "-f", str(example), "--worker-image", worker, "-o", "json"])
    found = listed("-f", example, "--values", values)
    named = set(_images(json.loads(made.stdout))) - {service.image.value for service in services().values()}
    assert named <= found.keys()
    for entry in found.values():
        assert all(use["reason"] and use["source"] for use in entry["neededBy"]), entry


def _images(part: object) -> list[str]:
    """Return the images of all containers in a document, wherever they are."""
    if isinstance(part, dict):
        own = [part["image"]] if isinstance(part.get("image"), str) else []
        return own + [image for value in part.values() for image in _images(value)]
    return [image for each in part for image in _images(each)] if isinstance(part, list) else []


def test_platforms_among_the_values_are_known(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"platforms": {"machines": {"lab": {"like": "roce"}}}}))
    text = EFA.read_text().replace("aws-p5.48xlarge", "lab")
    assert "spec.platform" in images("-f", "-", text=text).stderr
    known = images("-f", "-", "--values", values, text=text)
    assert (known.exit_code, "tensorrtllm-runtime" in known.stdout) == (0, True), known.stderr
    values.write_text(yaml.safe_dump({"platforms": {"machines": {"lab": {"like": "rose"}}}}))
    wrong = images("-f", "-", "--values", values, text=text)
    assert wrong.exit_code == 1
    assert "values of the chart: platforms: machines/lab.yaml" in wrong.stderr


def test_an_image_of_a_pod_template_is_the_users(values: Path, tmp_path: Path) -> None:
    resource = yaml.safe_load(EFA.read_text())
    sidecar = {"name": "log-shipper", "image": "registry.example.com/shipper:1"}
    resource["spec"]["decode"]["podTemplate"] = {"spec": {"containers": [sidecar]}}
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(resource))
    (use,) = listed("-f", file, "--values", values)[sidecar["image"]]["neededBy"]
    assert use == {
        "name": "default/llama-70b (decode)",
        "reason": "Set by the user.",
        "source": "a podTemplate of the deployment",
    }


def test_yaml_holds_what_json_holds_and_text_has_a_line_for_each(values: Path) -> None:
    arguments = ("-f", EFA, "--values", values)
    found = listed(*arguments)
    assert yaml.safe_load(images(*arguments, "-o", "yaml").stdout) == [*found.values()]
    _, *lines = images(*arguments).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*found]


def test_names_are_those_that_a_registry_has_and_the_others_are_told(values: Path) -> None:
    result = images("-f", EFA, "--names")
    assert all("/" in line for line in result.stdout.splitlines())
    assert "disagg-operator" not in result.stdout
    assert "warning: disagg-operator:" in result.stderr
    assert "set image.repository" in result.stderr
    whole = images("-f", EFA, "--values", values, "--names")
    assert (whole.stdout.splitlines(), whole.stderr) == ([*listed("-f", EFA, "--values", values)], "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image: disagg-operator", "image is no map"),
        ("- a", "no values"),
        ("a: [", "not YAML"),
        ("platforms: {machines: [a]}", "machines is no map"),
    ],
)
def test_wrong_values_are_refused_with_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    result = images("--values", file)
    assert result.exit_code == 1
    assert words in result.stderr


def test_what_cannot_be_planned_is_refused_as_by_render() -> None:
    text = EFA.read_text().replace("aws-p5.48xlarge", "aws-p5")
    assert images("-f", "-", text=text).exit_code == 1


def test_it_is_completed() -> None:
    assert complete("ima") == (["images"], ":4")
    assert complete("images", "--na") == (["--namespace", "--names"], ":4")
    assert complete("images", "-o", "") == (["text", "json", "yaml"], ":4")
