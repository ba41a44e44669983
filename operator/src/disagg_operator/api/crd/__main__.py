"""Writes the CustomResourceDefinitions and the page about them into the repository, or checks both."""

import argparse
import sys
from pathlib import Path

from disagg_operator.api.crd.definition import definitions
from disagg_operator.api.crd.page import page
from disagg_operator.api.crd.text import plain, template

CHART_TEMPLATES = Path("charts/disagg-operator/templates")
PAGE = Path("docs/api.md")


def files() -> dict[Path, str]:
    """Return the content of each file by its path from the repository's root."""
    made = definitions()
    written: dict[Path, str] = {PAGE: page(made)}
    for crd in made:
        file = f"{crd['spec']['group']}_{crd['spec']['names']['plural']}.yaml"
        written[Path("crds") / file] = plain(crd)
        written[CHART_TEMPLATES / "crds" / file] = template(crd)
    return written


def stale(root: Path) -> list[Path]:
    """Return the files below ``root`` that are missing or differ from what the models say."""
    return [
        path
        for path, content in files().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != content
    ]


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m disagg_operator.api.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    arguments = parser.parse_args()
    if not (arguments.root / CHART_TEMPLATES).is_dir():
        parser.error(f"{arguments.root.resolve()} is not the repository's root; run it there or give --root")
    outdated = stale(arguments.root)
    if arguments.check:
        for path in outdated:
            sys.stderr.write(f"{path} is stale: run `python -m disagg_operator.api.crd`\n")
        return 1 if outdated else 0
    for path in outdated:
        (arguments.root / path).parent.mkdir(parents=True, exist_ok=True)
        (arguments.root / path).write_text(files()[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
