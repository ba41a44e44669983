"""The folder named ``operator`` must never shadow the standard library's module of that name."""

import operator
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_operator_is_the_standard_library() -> None:
    assert Path(operator.__file__ or "").parent == Path(sysconfig.get_path("stdlib"))


def test_import_operator_from_the_root_of_the_repository() -> None:
    code = "import sys; sys.path.insert(0, '.'); import operator; print(operator.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_operator_folder_is_not_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
