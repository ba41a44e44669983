"""Writes docs/rules.md, the table of all rules; with --check, only says whether it is up to date."""

import sys
from pathlib import Path

from disagg_operator.plan.rules.table import document

_FILE = Path(__file__).resolve().parents[5] / "docs" / "rules.md"


def _main() -> int:
    if "--check" not in sys.argv:
        _FILE.write_text(document(), encoding="utf-8")
        return 0
    if _FILE.read_text(encoding="utf-8") == document():
        return 0
    sys.stderr.write("docs/rules.md is out of date: run make crds\n")
    return 1


if __name__ == "__main__":
    sys.exit(_main())
