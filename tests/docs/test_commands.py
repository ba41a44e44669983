"""No command in the docs is stale.

| command | what this file does with it |
|---|---|
| `kubectl disagg render`, `lint`, `convert`, `images`, `size`, `platforms`, `rollout plan --from` | runs it |
| other commands of `kubectl disagg`, which ask a cluster | reads it as the command line would: its options |
| `helm install`, `upgrade`, `template` of our chart | renders the chart with its values |
| other commands of helm, kubectl | looks verb, flags, kinds (known.yaml) and files up |
| `make` | looks targets and variables up |
| anything else | must be among the programs of known.yaml |

Commands that ask a cluster are run elsewhere: those of the quickstart, as they stand there, by
tests/e2e/test_e2e_1_walkthrough.py, all of `kubectl disagg` by tests/unit/cli, many by tests/e2e.
"""

import contextlib
import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from chart.helm import IMAGES, Helm, offline, settings
from disagg_operator.api.crd.definition import definitions
from disagg_operator.cli.main import app
from docs.pages import ROOT, Command, commands, inline_commands

OFFLINE = {"render", "lint", "convert", "images", "size", "platforms"}
STAND_INS = {
    "old.yaml": "examples/04-efa/llama-70b.yaml",
    "new.yaml": "examples/04-efa/llama-70b.yaml",
    "llama.yaml": "examples/04-efa/llama-70b.yaml",
    "llama-70b.yaml": "examples/04-efa/llama-70b.yaml",
    "values.yaml": "charts/disagg-operator/ci/production-values.yaml",
    "dgd.yaml": "tests/unit/cli/graphs/trtllm-efa-page.yaml",
}
"""What users have in files of these names."""

_DISAGG = ("kubectl-disagg", ".venv/bin/kubectl-disagg")
_KNOWN = yaml.safe_load(Path(__file__).with_name("known.yaml").read_text(encoding="utf-8"))
_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", _MAKEFILE, re.MULTILINE))
_READ = set(re.findall(r"\$[({]([A-Z_]+)|\b([A-Z_]+)=", _MAKEFILE))
_SETTINGS = {name for pair in _READ for name in pair if name}
_OUR_KINDS = {
    word
    for crd in definitions()
    for names in [crd["spec"]["names"]]
    for word in (names["singular"], *names["shortNames"], f"{names['singular']}.{crd['spec']['group']}")
}

COMMANDS = commands()
INLINE = inline_commands()


def disagg(command: Command) -> tuple[str, ...] | None:
    """Return the arguments of a command of ours, and None of others."""
    if command.words and command.words[0] in _DISAGG:
        return command.words[1:]
    return command.words[2:] if command.words[:2] == ("kubectl", "disagg") else None


def runs_offline(arguments: tuple[str, ...]) -> bool:
    planned = arguments[:2] == ("rollout", "plan") and "--from" in arguments
    # A word in capitals stands for one of the user's.
    open_word = any(re.fullmatch("[A-Z]+", word) for word in arguments)
    return bool(arguments) and not open_word and (arguments[0] in OFFLINE or planned)


def unique(found: list[Command]) -> list[Command]:
    return list({(command.page, command.words): command for command in found}.values())


OURS = [command for command in unique(COMMANDS) if disagg(command) is not None]
RUN = [command for command in OURS if runs_offline(disagg(command) or ())]
READ = [command for command in OURS if command not in RUN]


def of(program: str) -> list[Command]:
    return [command for command in unique(COMMANDS) if command.words[0] == program and command not in OURS]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a checkout in which a user keeps files of their own."""
    for name in ("examples", "tests", "charts", "crds"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, source in STAND_INS.items():
        shutil.copy(ROOT / source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", RUN, ids=str)
@pytest.mark.usefixtures("checkout")
def test_what_needs_no_cluster_runs(command: Command) -> None:
    arguments = disagg(command) or ()
    piped = Path(STAND_INS["dgd.yaml"]).read_text(encoding="utf-8") if "-" in arguments else None
    result = CliRunner().invoke(app, list(arguments), input=piped)
    assert result.exit_code == 0, result.output


def parse(command: object, arguments: list[str], parent: object = None) -> None:
    """Read a command line as click does, without running it."""
    with command.make_context(command.name or "", arguments, parent=parent) as context:  # type: ignore[attr-defined]
        if hasattr(command, "resolve_command"):
            rest = [*context._protected_args, *context.args]
            _, inner, rest = command.resolve_command(context, rest)
            parse(inner, rest, context)


@pytest.mark.parametrize("command", READ, ids=str)
@pytest.mark.usefixtures("checkout")
def test_what_asks_a_cluster_is_understood(command: Command) -> None:
    with contextlib.suppress(typer.Exit):  # as --version ends, once all was read
        parse(typer.main.get_command(app), list(disagg(command) or ()))


def options(words: tuple[str, ...]) -> tuple[set[str], bool]:
    """Return the options of the command that words begin with, and whether there is one."""
    command = typer.main.get_command(app)
    for word in words:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return known | {"--help"}, command.name in words


@pytest.mark.parametrize("command", [each for each in unique(INLINE) if disagg(each)], ids=str)
def test_a_command_within_a_text_exists(command: Command) -> None:
    arguments = tuple(word.strip("[]") for word in disagg(command) or ())
    if not re.fullmatch(r"[a-z]+", arguments[0]):
        return
    known, exists = options(arguments)
    assert exists
    named = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    assert named <= known


MAKE = [*of("make"), *(each for each in unique(INLINE) if each.words[0] == "make")]


@pytest.mark.parametrize("command", MAKE, ids=str)
def test_make_has_the_target(command: Command) -> None:
    for word in command.words[1:]:
        name, assigned, _ = word.partition("=")
        if re.fullmatch(r"[A-Z_]+", name):
            # The variables of images go to a program that is called by make.
            assert name in _SETTINGS or command.words[1] == "image-trtllm" or not assigned, name
        elif re.fullmatch(r"[a-z][a-z0-9-]*", name) and not assigned:
            assert name in _TARGETS


def value(word: str) -> str:
    """Return a setting of the chart with something for what users fill in."""
    return word.replace("…", "filled-in")


@pytest.fixture(scope="module")
def helm() -> Helm:
    """Helm without a cluster."""
    return offline()


@pytest.mark.parametrize("command", of("helm"), ids=str)
@pytest.mark.usefixtures("checkout")
def test_helm_takes_it(command: Command, helm: Helm) -> None:
    verb, arguments = command.words[1], [value(word) for word in command.words[2:]]
    assert verb in _KNOWN["helm"]
    if verb not in ("install", "upgrade", "template") or "charts/disagg-operator" not in arguments:
        return
    rest = [word for word in arguments if word not in ("--create-namespace", "--install", "--wait")]
    made = helm("template", *settings(**IMAGES), *rest)
    assert any(found and found["kind"] == "Deployment" for found in yaml.safe_load_all(made))


def resource(words: tuple[str, ...]) -> str:
    """Return the kind that a command of kubectl is about, in the singular, or nothing."""
    plain = [word for word in words[2:] if not word.startswith("-")]
    kind, _, group = (plain[0].partition("/")[0].partition(",")[0] if plain else "").partition(".")
    one = re.sub("ies$", "y", kind) if kind.endswith("ies") else re.sub("(?<=[sh])es$|(?<!s)s$", "", kind)
    return f"{one}.{group}" if group else one


@pytest.mark.parametrize("command", of("kubectl"), ids=str)
@pytest.mark.usefixtures("checkout")
def test_kubectl_takes_it(command: Command) -> None:
    words = command.words
    assert words[1] in _KNOWN["kubectl"]
    flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert flags <= set(_KNOWN["flags"])
    files = [after for word, after in itertools.pairwise(words) if word in ("-f", "--filename")]
    assert all(name == "-" or name.startswith("https://") or Path(name).exists() for name in files)
    if words[1] in ("get", "delete", "describe", "scale", "annotate", "label", "patch", "wait") and not files:
        assert "--raw" in words or resource(words) in _OUR_KINDS.union(_KNOWN["kinds"])


def test_every_other_program_is_known() -> None:
    ours = {"kubectl", "helm", "make", *_DISAGG}
    assert {command.words[0] for command in COMMANDS} - ours <= set(_KNOWN["programs"])


CONDITIONS = re.compile(r'@\.type=="(\w+)"')


@pytest.mark.parametrize("command", [each for each in of("kubectl") if "jsonpath" in each.line], ids=str)
def test_conditions_that_are_asked_for_exist(command: Command) -> None:
    schema = definitions()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    told = schema["properties"]["status"]["properties"]["conditions"]["description"]
    assert all(f"{name}:" in told for name in CONDITIONS.findall(command.line))


KINDS_OF_COMMANDS: dict[str, Callable[[], int]] = {
    "run": lambda: len(RUN),
    "read": lambda: len(READ),
    "make": lambda: len(MAKE),
    "helm": lambda: len(of("helm")),
    "kubectl": lambda: len(of("kubectl")),
}


@pytest.mark.parametrize("kind", KINDS_OF_COMMANDS)
def test_commands_of_each_kind_were_found(kind: str) -> None:
    assert KINDS_OF_COMMANDS[kind]() >= 3
