"""The table of values in the chart's README, made from the `# --` comments of values.yaml.

Run as a program it rewrites the README, or with --check only compares. Invariant: every value that is not
inside another documented one has a comment.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from settling import ROOT, settle

CHART = ROOT / "charts" / "disagg-operator"
_MARKED = re.compile(r"(<!-- values: [^\n]*-->\n).*?(<!-- end of values -->)", re.DOTALL)
_KEY = re.compile(r"^( *)([A-Za-z]+):")


def comments(text: str) -> dict[str, str]:
    """Return the `# --` comments of a values file by the dotted path of the key that follows each."""
    found: dict[str, str] = {}
    path: list[str] = []
    pending = ""
    for line in text.splitlines():
        if line.strip().startswith("# --"):
            pending = line.strip().removeprefix("# --").strip()
        elif key := _KEY.match(line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if pending:
                found[".".join(path)] = pending
            pending = ""
    return found


def leaves(values: dict[str, Any], documented: dict[str, str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and default of every value, not looking into what is documented as a whole."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in documented:
            yield from leaves(value, documented, f"{path}.")
        else:
            yield path, value


def table(text: str) -> str:
    """Return the Markdown table of a values file.

    Raises:
        KeyError: if a value has no comment.
    """
    documented = comments(text)
    rows = [
        f"| `{path}` | `{json.dumps(value, ensure_ascii=False)}` | {documented[path]} |"
        for path, value in leaves(yaml.safe_load(text), documented)
    ]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows, ""])


def with_table(readme: str, values: str) -> str:
    """Return the README with its table made anew from a values file."""
    return _MARKED.sub(lambda marks: f"{marks[1]}\n{table(values)}\n{marks[2]}", readme)


if __name__ == "__main__":
    readme, values = ((CHART / name).read_text(encoding="utf-8") for name in ("README.md", "values.yaml"))
    sys.exit(settle({CHART.relative_to(ROOT) / "README.md": with_table(readme, values)}))
