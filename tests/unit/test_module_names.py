"""Each name of a module is offered by one folder that the tests search: else the order of imports decides."""

import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_two_folders_offer_a_module_of_one_name() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = [ROOT / folder for folder in settings["tool"]["pytest"]["ini_options"]["pythonpath"]]
    offered = Counter(
        entry.stem
        for folder in folders
        for entry in folder.iterdir()
        if (entry.is_dir() and any(entry.glob("**/*.py")))
        or (entry.suffix == ".py" and entry.stem != "conftest")
    )

    assert {name for name, times in offered.items() if times > 1} == set()
