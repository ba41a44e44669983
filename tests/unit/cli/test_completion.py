"""``kubectl_complete-disagg``, as kubectl starts it."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("kubectl_complete-disagg")


def complete(*words: str) -> tuple[list[str], str]:
    """Return candidates without their descriptions, and the directive."""
    assert PROGRAM.exists(), "run `make setup`: the package has a new program"
    ended = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stderr == ""
    *found, directive = ended.stdout.splitlines()
    return [line.partition("\t")[0] for line in found], directive


def test_commands_and_options_and_their_values_are_offered() -> None:
    commands, directive = complete("")
    assert {"status", "logs", "rollout", "render"} <= set(commands)
    assert directive == ":4"
    assert complete("rollout", "pa") == (["pause"], ":4")
    assert complete("status", "--name") == (["--namespace"], ":4")
    assert complete("status", "-o", "") == (["text", "json", "yaml"], ":4")
    assert complete("logs", "llama", "--role", "d") == (["decode"], ":4")


def test_where_nothing_is_known_the_shell_may_offer_files(tmp_path: Path) -> None:
    assert complete("render", "-f", "my file's ") == ([], ":0")
    # No cluster is reached, and nothing is said about it.
    assert complete("status", "--kubeconfig", str(tmp_path / "none"), "") == ([], ":0")
    file = tmp_path / "config"
    file.write_text("contexts: 3")
    assert complete("status", "--kubeconfig", str(file), "--context", "") == ([], ":0")


def test_contexts_of_a_kubeconfig_are_offered(tmp_path: Path) -> None:
    context = {"cluster": "a", "user": "b"}
    config = {
        "current-context": "east",
        "clusters": [{"name": "a", "cluster": {"server": "https://192.0.2.1"}}],
        "contexts": [{"name": name, "context": context} for name in ("east", "west")],
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(config))
    assert complete("status", "--kubeconfig", str(file), "--context", "w") == (["west"], ":4")
