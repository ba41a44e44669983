"""What this machine lacks for a plan. Everything is looked at before anything is done."""

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from source_images.eras import Architecture, Eras
from source_images.errors import ImageError
from source_images.plan import Plan
from testcluster.commands import output, succeeds
from testcluster.errors import ClusterError

_GB = 10**9


@dataclass(frozen=True)
class Lack:
    """Something that is missing.

    Args:
        what: What is missing, as a sentence.
        remedy: What to do about it.
    """

    what: str
    remedy: str


def host_architecture() -> Architecture:
    """The architecture of this machine.

    Raises:
        ImageError: If no image is made for it.
    """
    names = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64, "arm64": Architecture.ARM64}
    try:
        return names[platform.machine()]
    except KeyError:
        raise ImageError(
            f"ARCH: this machine is a {platform.machine()}", remedy="write ARCH=amd64 or ARCH=arm64"
        ) from None


def engine(candidates: tuple[str, ...]) -> str:
    """The first container engine that answers; the first of all if none does."""
    return next((name for name in candidates if _answers(name)), candidates[0])


def lacks(plan: Plan, eras: Eras, *, disk_check: bool) -> list[Lack]:
    """List what this machine lacks for a plan; the disk is looked at if that is asked for."""
    found = list(_engine_lacks(plan))
    if plan.compiles:
        found += _source_lacks()
        found += _disk_lacks(eras) if disk_check else ()
    return found


def _engine_lacks(plan: Plan) -> Iterator[Lack]:
    if not plan.engines or any(_answers(name) for name in plan.engines):
        return
    if plan.engines == ("docker",):
        yield Lack(
            "no Docker answers, which build.sh calls", "start Docker, or install it; `docker info` tells more"
        )
    else:
        yield Lack(f"none of {', '.join(plan.engines)} answers", f"install one of {', '.join(plan.engines)}")


def _source_lacks() -> Iterator[Lack]:
    if not succeeds(["git", "lfs", "version"]):
        yield Lack(
            "git-lfs is not installed, which TensorRT-LLM's sources need", "apt-get install git-lfs, or alike"
        )


def _disk_lacks(eras: Eras) -> Iterator[Lack]:
    folder = _docker_folder()
    free = shutil.disk_usage(folder).free / _GB
    if free < eras.disk.free_gb:
        yield Lack(
            f"{folder} has {free:.0f} GB free, and compiling TensorRT-LLM takes about {eras.disk.free_gb} GB "
            f"({eras.disk.source})",
            "free some, or write DISK_CHECK=0",
        )


def _docker_folder() -> Path:
    try:
        folder = Path(output(["docker", "info", "--format", "{{.DockerRootDir}}"], timeout=30).strip())
    except ClusterError:
        return Path("/")
    return folder if folder.is_dir() else Path("/")


def _answers(name: str) -> bool:
    return succeeds([name, "info"])
