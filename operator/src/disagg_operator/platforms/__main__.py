"""Writes what is generated from the profiles into the repository, or checks that it is up to date."""

import argparse
import json
import sys
from pathlib import Path

from disagg_operator.platforms.schema import PREFIX, definitions, platforms
from disagg_operator.platforms.table import END, START, table

VALUES_SCHEMA = Path("charts/disagg-operator/values.schema.json")
DOCUMENT = Path("docs/platforms.md")


def values_schema(text: str) -> str:
    """Return the schema of the chart's values with what is generated for the value ``platforms``."""
    schema = json.loads(text)
    kept = {name: part for name, part in schema["definitions"].items() if not name.startswith(PREFIX)}
    schema["definitions"] = kept | definitions()
    schema["properties"]["platforms"] = platforms()
    return f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n"


def document(text: str) -> str:
    """Return the page about platforms with the table of machines in its place."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}{END}{after}"


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m disagg_operator.platforms", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    arguments = parser.parse_args()
    status = 0
    for path, generate in ((VALUES_SCHEMA, values_schema), (DOCUMENT, document)):
        file = arguments.root / path
        if not file.is_file():
            parser.error(
                f"{arguments.root.resolve()} is not the repository's root; run it there or give --root"
            )
        old = file.read_text(encoding="utf-8")
        new = generate(old)
        if old == new:
            continue
        if arguments.check:
            sys.stderr.write(f"{path} is stale: run `python -m disagg_operator.platforms`\n")
            status = 1
        else:
            file.write_text(new, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
