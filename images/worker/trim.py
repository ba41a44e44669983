"""Remove from the image's virtual environment what a worker cannot use.

NIXL's wheel brings GPU kernels for expert parallelism, plug-ins for object stores and the cloud SDKs behind
them; the worker moves host memory through UCX. Whether the rest still works is tried at the end, in the
same build step.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("nixl_ep", "nixl_ep_cu13")
LIBRARIES = ("libaws", "libazure", "libgusli", "libxml2", "libs2n", "libcurl", "libucx_perftest")
KEPT_PLUGIN = "libplugin_UCX.so"
TRIAL = "from nixl._api import nixl_agent, nixl_agent_config as c; nixl_agent('trial', c(backends=['UCX']))"


def surplus(site: Path) -> Iterator[Path]:
    """Find files and folders to remove below site-packages."""
    yield from (site / name for name in PACKAGES)
    for folder in (site / "nixl_cu13.libs", site / ".nixl_cu13.mesonpy.libs"):
        for library in folder.rglob("lib*.so*"):
            foreign_plugin = library.name.startswith("libplugin_") and library.name != KEPT_PLUGIN
            if foreign_plugin or library.name.startswith(LIBRARIES):
                yield library


def main() -> None:
    """Remove the surplus and see that an agent still starts."""
    removed = 0
    for path in list(surplus(Path(sysconfig.get_path("purelib")))):
        files = path.rglob("*") if path.is_dir() else [path]
        removed += sum(file.stat().st_size for file in files if file.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-c", TRIAL], check=True)  # noqa: S603 - a fixed command
    sys.stdout.write(f"removed {removed / 1e6:.0f} MB of NIXL that a worker cannot use\n")


if __name__ == "__main__":
    main()
