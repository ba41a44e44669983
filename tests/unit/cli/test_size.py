"""``kubectl disagg size`` as a user calls it."""

import json
import os
import re
import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app
from disagg_operator.sizing.assumptions import models
from unit.sizing.measured import RUNS
from unit.sizing.test_sizing import TABLES, estimated

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/sizing.md").read_text(encoding="utf-8")
LOAD = ("--isl", "4000", "--osl", "500", "--rate", "10", "--ttft", "1000", "--itl", "20")
LLAMA = ("--model", "meta-llama/Llama-3.3-70B-Instruct", "--platform", "aws-p5.48xlarge", *LOAD)
QWEN = ("--model", "Qwen/Qwen3-32B", "--platform", "aws-p5.48xlarge", *LOAD)
CALLS = re.findall(r"```console\n\$ kubectl disagg size (.*?)(?<!\\)\n(.*?)```", PAGE, re.DOTALL)
SIMULATED = """#!/bin/sh
# Simulated: writes the tables that aiconfigurator 0.12.0 wrote, where the command line asks for them.
test "$1" = version && echo 0.12.0 && exit
echo "$@" > "$TOLD"
while [ "$#" -gt 1 ]; do test "$1" = --save-dir && out="$2"; shift; done
mkdir -p "$out/m/agg" "$out/m/disagg"
cp "$TABLES/agg.csv" "$out/m/agg/best_config_topn.csv"
test -n "$NO_FLEET" || cp "$TABLES/disagg.csv" "$out/m/disagg/best_config_topn.csv"
"""


def size(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["size", *arguments])


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a simulated aiconfigurator on the PATH; the file holds its command line."""
    program = tmp_path / "aiconfigurator"
    program.write_text(SIMULATED, encoding="utf-8")
    program.chmod(0o755)
    told = tmp_path / "told"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TABLES", str(TABLES))
    monkeypatch.setenv("TOLD", str(told))
    return told


@pytest.mark.parametrize(("command", "shown"), CALLS, ids=range(len(CALLS)))
def test_the_page_shows_what_its_commands_print(
    command: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = size(*shlex.split(command.replace("\\\n", " "))).output
    assert printed.splitlines() == shown.splitlines()


def test_the_page_has_commands_and_its_picture_is_what_one_draws(tmp_path: Path) -> None:
    assert len(CALLS) >= 3
    assert size(*LLAMA, "--plot", str(tmp_path / "p.svg")).exit_code == 0
    assert (tmp_path / "p.svg").read_text() == (ROOT / "docs/images/sizing.svg").read_text()


def test_the_page_compares_with_aiconfigurator_as_it_is() -> None:
    for run in RUNS:
        work = f"a token, {run.batch} sequences" if run.batch else "a prompt"
        figures = f"{run.milliseconds:g} ms | {float(f'{estimated(run):.3g}'):g} ms"
        assert f"| {run.model} | {run.platform} | {run.gpus} | {work} | {figures} |" in PAGE


def test_an_answer_says_that_it_is_an_estimate_what_is_uncertain_and_where_numbers_come_from() -> None:
    text = size(*LLAMA).stdout
    for said in (
        "An estimate by roofline",
        "Most uncertain: fabric_rate",
        "Disaggregation pays",
        "327.68 kB",
    ):
        assert said in text
    assert "Prefill to decode: 2:1 instances, 16:8 GPUs." in text
    (line,) = [line for line in text.splitlines() if line.startswith("gpu_flops ")]
    assert "989 TFLOP/s" in line
    assert "aiconfigurator 0.12.0" in line
    assert "\x1b" not in text


@pytest.mark.parametrize("model", models())
def test_yaml_is_a_deployment_that_lint_has_nothing_against_but_a_missing_token(model: str) -> None:
    asked = (
        "--model",
        model,
        "--platform",
        "aws-p6-b200.48xlarge",
        "--isl",
        "2000",
        "--osl",
        "200",
        "--rate",
        "2",
    )
    written = size(*asked, "-o", "yaml")
    assert written.exit_code == 0, written.output
    linted = CliRunner().invoke(app, ["lint", "-f", "-", "-o", "json"], input=written.stdout)
    # The Secret's name is for the user to write; a comment says so.
    expected = ["hub-token"] if models()[model].get("gated") else []
    assert [entry["rule"] for entry in json.loads(linted.stdout)] == expected
    assert written.stdout.startswith("# An estimate by roofline")


def test_json_holds_the_numbers_and_what_they_rest_on() -> None:
    found = json.loads(size(*LLAMA, "-o", "json").stdout)
    assert found["kv"]["bytesPerToken"] == 327_680
    assert found["gpus"] == sum(
        found[role]["replicas"] * found[role]["gpus"] for role in ("prefill", "decode")
    )
    assert found["transfer"]["overTcpSeconds"] is None
    assert {each["name"] for each in found["assumptions"]} >= {
        "fabric_rate",
        "tcp_rate",
        "prefill_efficiency",
    }
    assert all(each["source"] for each in found["assumptions"])


def test_few_gpus_on_as_many_whole_nodes_do_not_simply_pay() -> None:
    """Over EFA an instance of each role takes a node each, though both have four GPUs of eight."""
    asked = ("--isl", "3000", "--osl", "300", "--rate", "4", "--ttft", "2000", "--itl", "30")
    text = size(*LLAMA[:4], *asked).stdout
    assert "Disaggregation pays only where other pods use the rest of its nodes: 8 GPUs on 2 nodes" in text
    assert "16 GPUs on 2 nodes aggregated" in text
    assert "Whole nodes: 2 of 8 GPUs, together 16 GPUs, 8 of them idle unless other pods use them; no" in text
    found = json.loads(size(*LLAMA[:4], *asked, "-o", "json").stdout)
    assert (found["gpus"], found["nodes"], found["aggregated"]["nodes"]) == (8, 2, 2)


@pytest.mark.parametrize(
    ("given", "longest"), [((), 8000), (("--max-isl", "4000"), 4000), (("--max-isl", "30000"), 30000)]
)
def test_limits_are_those_of_the_longest_prompt(given: tuple[str, ...], longest: int) -> None:
    text = size(*LLAMA, *given, "-o", "yaml").stdout
    spec = yaml.safe_load(text)["spec"]
    for role in ("prefill", "decode"):
        assert longest + 500 <= spec[role]["engineConfig"]["max_seq_len"] < longest + 532
    assert spec["prefill"]["engineConfig"]["max_num_tokens"] >= longest
    assert longest + 1000 <= spec["transfer"]["maxTokensInBuffer"] < longest + 1032
    assert f"# A prompt has at most {longest} tokens, with 500 of an answer" in text


def test_a_gated_repository_is_told_with_what_to_write() -> None:
    written = size(*LLAMA, "-o", "yaml").stdout
    assert "# meta-llama/Llama-3.3-70B-Instruct is gated" in written
    assert "tokenSecretRef: {name: NAME OF THE SECRET, key: token}" in written
    assert "is gated" not in size(*QWEN, "-o", "yaml").stdout


def test_assumptions_can_be_replaced_and_say_so() -> None:
    text = size(*LLAMA, "--assume", "fabric_rate=50", "--assume", "prefill_efficiency=0.5").stdout
    (rate,) = [line for line in text.splitlines() if line.startswith("fabric_rate ")]
    assert "50 GB/s a GPU" in rate
    assert rate.rstrip().endswith("--assume")


def test_a_config_json_is_read_with_what_is_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "my-llama"
    folder.mkdir()
    config = models()["meta-llama/Llama-3.3-70B-Instruct"]["config"]
    (folder / "config.json").write_text(json.dumps(config))
    rest = ("--platform", "aws-p5.48xlarge", *LOAD)
    plain = json.loads(size("--model", str(folder / "config.json"), *rest, "-o", "json").stdout)
    assert plain["kv"]["bytesPerToken"] == 327_680
    quantised = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(quantised))
    found = json.loads(size("--model", str(folder), *rest, "-o", "json").stdout)
    assert (found["kv"]["bytesPerToken"], found["model"]["weights"]) == (163_840, "fp8")
    assert found["gpus"] < plain["gpus"]
    (deployment,) = yaml.safe_load_all(size("--model", str(folder), *rest, "-o", "yaml").stdout)
    assert deployment["spec"]["model"]["source"] == {
        "persistentVolumeClaim": {"claimName": "models", "path": "my-llama"}
    }


def test_missed_targets_are_shown_and_fail() -> None:
    missed = size(*LLAMA, "--ttft", "100")
    assert missed.exit_code == 1
    assert "misses the targets" in missed.stdout


def test_a_platform_that_names_no_gpus_takes_them_from_options() -> None:
    sized = size(*QWEN, "--platform", "infiniband", "--gpu", "H200", "--gpus-per-node", "8")
    assert sized.exit_code == 0, sized.output
    assert "transfer over infiniband" in sized.stdout


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--model", "nope"], "--model: 'nope' is no config.json"),
        (["--model", "n" * 5000], "cannot be read: File name too long. Write the path of a model's config"),
        (["--model", "~nobody-at-all/m"], "~nobody-at-all/m cannot be read: there is no such home directory"),
        (["--model", str(ROOT / "README.md")], "cannot be read: it is not JSON"),
        (["--platform", "p5"], "--platform: there is no platform 'p5'. Did you mean aws-p5.48xlarge"),
        (["--platform", "generic"], "--gpu: platform generic does not say its GPUs. Write one of: H100"),
        (["--platform", "generic", "--gpu", "H100"], "--gpus-per-node: platform generic does not say"),
        (["--gpu", "H101"], "--gpu: 'H101' is not known. Write one of: H100"),
        (["--isl", "100000"], "--isl: prompt and answer have 100500 tokens"),
        (["--max-isl", "100"], "--max-isl: 100 is less than --isl 4000. Write 4000 or more"),
        (["--max-isl", "100000"], "--max-isl: prompt and answer have 100500 tokens"),
        (["--rate", "-1"], "--rate: -1 is no number above 0. Write --rate 10"),
        (
            ["--assume", "fabric=3"],
            "--assume fabric=3: there is no assumption 'fabric'. Did you mean fabric_rate?",
        ),
        (
            ["--assume", "fabric_rate=fast"],
            "--assume fabric_rate=fast: no number above 0. Write fabric_rate=3",
        ),
        (
            ["--nixl-backend", "MOONCAKE"],
            "--nixl-backend: no rate of MOONCAKE over efa is known. Write --nixl-backend",
        ),
        (["--assume", "gpus_per_node=0.5"], "no whole number. Write gpus_per_node=8"),
        (
            ["--assume", "kv_memory_fraction=2"],
            "a part of the whole is at most 1. Write kv_",
        ),
        (["--rate", "1e308"], "--rate: 1e+308 requests/s need more than 1000 instances of a role"),
        (["--rate", "1e9"], "--rate: 1e+09 requests/s need more than 1000 instances of a role"),
        (["--plot", "p.png"], "--plot: p.png is no name of an SVG file. Write --plot size.svg"),
        (["--plot", "."], "--plot: . is no name of an SVG file. Write --plot size.svg"),
        (["--plot", "/nowhere/p.svg"], "--plot: /nowhere/p.svg cannot be written: No such file or directory"),
        (["--model", "deepseek-ai/DeepSeek-R1", "--platform", "aws-g6e.8xlarge"], "needs 673 GB for weights"),
    ],
)
def test_what_cannot_be_sized_names_the_option_and_what_to_write(changed: list[str], said: str) -> None:
    wrong = size(*QWEN, *changed)
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert said in " ".join(wrong.stderr.split())


def test_without_matplotlib_a_picture_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("disagg_operator.cli.drawing", "disagg_operator.cli.size.picture"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    wrong = size(*QWEN, "--plot", str(tmp_path / "p.svg"))
    assert wrong.exit_code == 1
    assert "--plot: drawing needs matplotlib. Install it with" in " ".join(wrong.stderr.split())


def test_an_answer_that_is_too_large_for_one_deployment_is_not_written_as_one() -> None:
    asked = (
        "--model",
        "deepseek-ai/DeepSeek-R1",
        "--platform",
        "gb200-nvl72",
        *LOAD,
        "--rate",
        "300",
        "-o",
        "yaml",
    )
    wrong = size(*asked)
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "Write a lower --rate and make several deployments" in " ".join(wrong.stderr.split())


def test_the_picture_is_an_svg(tmp_path: Path) -> None:
    assert size(*QWEN, "--plot", str(tmp_path / "p.svg")).exit_code == 0
    assert ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_aiconfigurator_is_asked_with_the_same_question(simulated: Path) -> None:
    asked = (*QWEN, "--estimator", "aiconfigurator", "--assume", "fabric_rate=9.6")
    sized = size(*asked)
    assert sized.exit_code == 0, sized.output
    assert (
        "An estimate by aiconfigurator 0.12.0: kernels measured with TensorRT-LLM 1.3.0rc20" in sized.stdout
    )
    told = simulated.read_text()
    assert told.startswith("cli default ")
    for words in (
        "--system h100_sxm",
        "--target-request-rate 10",
        "--ttft 1000 --tpot 20",
        "--isl 4000 --osl 500",
    ):
        assert words in told
    written = size(*asked, "-o", "yaml")
    assert CliRunner().invoke(app, ["lint", "--strict", "-f", "-"], input=written.stdout).exit_code == 0
    assert yaml.safe_load(written.stdout)["spec"]["prefill"]["replicas"] == 8


def test_aiconfigurator_without_an_answer_is_told(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_FLEET", "1")
    wrong = size(*QWEN, "--estimator", "aiconfigurator")
    assert simulated.exists()
    assert wrong.exit_code == 1
    assert "found no fleet that meets the targets" in " ".join(wrong.stderr.split())


def test_without_aiconfigurator_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    wrong = size(*QWEN, "--estimator", "aiconfigurator")
    assert wrong.exit_code == 1
    assert "pip install aiconfigurator==0.12.0" in " ".join(wrong.stderr.split())
