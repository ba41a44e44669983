"""Files that are hostile as YAML, whatever is in them, are refused with words."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from disagg_operator.cli.main import app

DOCUMENTS = {
    "nested.yaml": "[" * 20_000,
    "maps.yaml": "kind: DisaggDeployment\nspec: " + "{a: " * 3000 + "}" * 3000,
    "number.yaml": f"kind: DisaggDeployment\nspec: {{a: {'9' * 5000}}}",
    "date.yaml": "kind: DisaggDeployment\nspec: {a: 2026-99-99}",
    "alias.yaml": "kind: DisaggDeployment\nspec: &a {b: *a}",
    "laughs.yaml": "kind: DisaggDeployment\na: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)),
    "twice.yaml": "apiVersion: disagg.dev/v1alpha1\nkind: DisaggDeployment\nkind: DisaggDeployment",
    "tag.yaml": "kind: DisaggDeployment\nspec: !!python/object/apply:os.system [id]",
    "escape.yaml": 'kind: DisaggDeployment\nspec: "\\ud800"',
    "control.yaml": "kind: DisaggDeployment\nspec: \0",
    "latin.yaml": "kind: \xff",
    "binary.yaml": "kind: DisaggDeployment\nspec: !!binary aGFsbG8=",
    "set.yaml": "kind: DisaggDeployment\nspec: !!set {a, b}",
    "keys.yaml": "kind: DisaggDeployment\nspec: {1: a, true: b, null: c, 2.5: d, [a]: e}",
    "empty.yaml": "",
    "scalar.yaml": "DisaggDeployment",
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("command", ["lint", "render"])
def test_a_hostile_file_is_refused_with_words(name: str, command: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(DOCUMENTS[name].encode("latin-1"))
    result = CliRunner().invoke(app, [command, "-f", str(file)])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert result.output.strip()
