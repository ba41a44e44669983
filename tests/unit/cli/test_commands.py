"""Commands are loaded when they are called, and only then."""

import subprocess
import sys

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from disagg_operator.cli.commands import ENTRIES
from disagg_operator.cli.main import app

HEAVY = ("pydantic", "yaml", "jinja2", "asyncio", "matplotlib", "disagg_operator.plan")


def test_the_version_is_told_without_loading_what_commands_need() -> None:
    program = (
        "import sys; from disagg_operator.cli.main import main; sys.argv[1:] = ['--version']\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    assert version.startswith("kubectl-disagg ")
    assert loaded == "[]"


@pytest.mark.parametrize("name", ENTRIES)
def test_each_command_has_a_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"kubectl-disagg {name}" in result.stdout
    assert "completion" not in result.stdout


def test_help_lists_all_commands_and_a_wrong_one_is_told_what_was_meant() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert [name for name in ENTRIES if f"│ {name} " in text] == list(ENTRIES)
    wrong = CliRunner().invoke(app, ["verfy", "llama"])
    assert wrong.exit_code == 2
    assert "Did you mean 'verify'?" in wrong.output


def test_the_names_are_those_that_commands_have() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    assert {name: command.name for name, command in group.commands.items()} == {
        name: name for name in ENTRIES
    }
