"""Removing the build cache."""

import os
import shutil
from pathlib import Path

from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.machine import unmount_below
from testcluster.paths import Paths


def clean_cache(paths: Paths, progress: Progress) -> None:
    """Remove every build output.

    Raises:
        ClusterError: If the embedded cluster is up: its programs lie in the cache.
    """
    if (paths.state / "before.json").exists():
        raise ClusterError(
            "the embedded cluster is up and runs from the cache", remedy="make cluster-down first"
        )
    if not paths.cache.exists():
        progress.note(f"{paths.cache} does not exist.")
        return
    with progress.step(f"Remove {paths.cache}"):
        unmount_below(paths.cache)
        for folder, _, _ in os.walk(paths.cache):
            if not Path(folder).is_symlink():
                Path(folder).chmod(0o700)
        shutil.rmtree(paths.cache)
