"""Files of the repository that are made from others: written anew, or with --check only compared."""

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def settle(files: Mapping[Path, str]) -> int:
    """Write those files that are not as they should be, or tell of them; return the exit status.

    Args:
        files: text by path from the repository's root.
    """
    stale = {
        path: text
        for path, text in files.items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != text
    }
    if "--check" in sys.argv:
        sys.stderr.writelines(f"{path} is out of date: run make crds\n" for path in stale)
        return 1 if stale else 0
    for path, text in stale.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    return 0
