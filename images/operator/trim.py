"""Remove from the image's virtual environment what the operator cannot load.

The Kubernetes client generates one module for each of more than a thousand API types, twice. The operator
talks to the API server in plain dicts: of these modules only those stay that starting the operator imports.
With --list nothing is removed: the modules are named, relative to the folder of packages. Archives of
kubectl-disagg are made without them.
"""

import importlib
import sys
from pathlib import Path

ENTRY_POINTS = ("disagg_operator.runtime.main", "disagg_operator.cli.main")
GENERATED = ("client/models", "client/api", "aio/client/models", "aio/client/api")


def surplus() -> tuple[Path, list[Path]]:
    """Import the entry points; return the folder of packages, and the generated modules not loaded."""
    for name in ENTRY_POINTS:
        importlib.import_module(name)
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    needed = {Path(file) for file in loaded if file}
    client = Path(sys.modules["kubernetes"].__file__ or "").parent
    found = [path for folder in GENERATED for path in (client / folder).glob("*.py") if path not in needed]
    return client.parent, found


def main() -> None:
    """Delete the surplus modules, or name them."""
    folder, found = surplus()
    if "--list" in sys.argv:
        sys.stdout.writelines(f"{path.relative_to(folder)}\n" for path in sorted(found))
        return
    size = sum(path.stat().st_size for path in found)
    for path in found:
        path.unlink()
    sys.stdout.write(f"removed {len(found)} generated modules, {size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main()
