"""Remove from the image's virtual environment what the operator cannot load.

The Kubernetes client generates one module for each of more than a thousand API types, twice. The operator
talks to the API server in plain dicts: of these modules only those stay that starting the operator imports.
"""

import importlib
import sys
from pathlib import Path

ENTRY_POINTS = ("disagg_operator.runtime.main", "disagg_operator.cli.main")
GENERATED = ("client/models", "client/api", "aio/client/models", "aio/client/api")


def main() -> None:
    """Import the entry points, then delete the generated modules that were not needed for it."""
    for name in ENTRY_POINTS:
        importlib.import_module(name)
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    needed = {Path(file) for file in loaded if file}
    client = Path(sys.modules["kubernetes"].__file__ or "").parent
    surplus = [path for folder in GENERATED for path in (client / folder).glob("*.py") if path not in needed]
    size = sum(path.stat().st_size for path in surplus)
    for path in surplus:
        path.unlink()
    sys.stdout.write(f"removed {len(surplus)} generated modules, {size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main()
