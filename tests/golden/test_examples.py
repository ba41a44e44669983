"""Every example renders to just the manifests beside this file, and does what the README of its folder says.

``make update-golden`` writes the manifests anew.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app

HERE = Path(__file__).resolve().parent
WORKER_IMAGE = "disagg-worker:latest"
"""Not the release's, with which all files would change."""
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*/*.yaml"))
FOLDERS = sorted({path.parent for path in FILES})
PARTS = ("## How KV cache moves", "## Why these sizes", "## Where the values come from")


def called(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def rendered(example: Path) -> str:
    run = CliRunner().invoke(app, ["render", "-f", str(example), "--worker-image", WORKER_IMAGE])
    assert run.exit_code == 0, run.output
    return run.stdout


def documents(text: str) -> list[Any]:
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


@pytest.mark.parametrize("example", FILES, ids=called)
def test_manifests_of_an_example(example: Path) -> None:
    golden = HERE / example.parent.name / example.name
    made = rendered(example)
    if "UPDATE_GOLDEN" in os.environ:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(made)
    assert made == golden.read_text()


@pytest.mark.parametrize("example", FILES, ids=called)
def test_the_order_in_which_fields_are_written_makes_no_difference(example: Path, tmp_path: Path) -> None:
    """The API server sorts them: else the operator would name another revision than `render` does."""
    written = list(yaml.safe_load_all(example.read_text(encoding="utf-8")))
    stored = tmp_path / example.name
    stored.write_text(yaml.safe_dump_all(written, sort_keys=True), encoding="utf-8")
    assert documents(rendered(stored)) == documents(rendered(example))


def test_there_is_no_golden_file_without_its_example() -> None:
    expected = {f"{path.parent.name}/{path.name}" for path in FILES}
    found = {f"{path.parent.name}/{path.name}" for path in HERE.glob("[0-9]*/*.yaml")}
    assert found == expected


def test_the_index_leads_to_every_example() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\S+)\]\(\1\) \|", index, re.MULTILINE) == [path.name for path in FOLDERS]


@pytest.mark.parametrize("example", FILES, ids=called)
def test_an_example_begins_with_what_it_is(example: Path) -> None:
    first = example.read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# \S.{30,}", first)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_readme_says_what_there_is_and_why(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("- **Hardware**: ", "- **Before you apply it**: ", *PARTS):
        assert part in text
    commands = [command for command, _ in commands_of(text)]
    for path in folder.glob("*.yaml"):
        named = path.relative_to(ROOT)
        assert f"[`{path.name}`]({path.name})" in text
        assert f"kubectl disagg lint -f {named}" in commands
        assert f"kubectl apply -f {named}" in commands
    for link in re.findall(r"\]\((\.\.?/[^)#]+)", text):
        assert (folder / link).exists(), link
    assert re.search(r"^- .*(https?://|\]\()", text.partition(PARTS[-1])[2], re.MULTILINE), (
        "sources have links"
    )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_commands_of_a_readme_print_what_it_shows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that show nothing are run by tests/docs."""
    monkeypatch.chdir(ROOT)
    for command, shown in commands_of((folder / "README.md").read_text(encoding="utf-8")):
        if not shown or not command.startswith("kubectl disagg "):
            continue
        result = run_plugin(command)
        assert result.exit_code == 0, result.output
        printed = [" ".join(line.split()) for line in result.output.splitlines()]
        for line in shown:
            assert " ".join(line.split()) in printed, command


def run_plugin(command: str) -> Result:
    return CliRunner().invoke(app, shlex.split(command)[2:])


def commands_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the blocks, on one line, with the lines of its output that are shown."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.replace("\\\n", " ").splitlines()
            yield " ".join(command.split()), shown
