"""The two bases of local image builds, made from Debian packages so that no registry is needed.

The runtime base is what an image ends on: an interpreter, its library and certificates, no shell. The builder
base has a shell and uv. Registry builds use public images of the same Python instead.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testcluster.buildah import Buildah
from testcluster.commands import logged, output
from testcluster.console import Progress
from testcluster.digest import text_digest
from testcluster.paths import REPOSITORY
from testcluster.toolchain import uv

FOLDER = REPOSITORY / "images/base"
SUITE = "bookworm"
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
BUILDER_ENVIRONMENT = {
    "UV_CACHE_DIR": "/root/.cache/uv",
    "UV_LINK_MODE": "copy",
    "UV_PYTHON_DOWNLOADS": "never",
    # The mounted certificates of this machine, which may add to the public ones.
    "SSL_CERT_FILE": CERTIFICATES,
}


@dataclass(frozen=True)
class Bases:
    """The references of the two bases in the local image store."""

    runtime: str
    builder: str


def packages(name: str) -> list[str]:
    """The Debian packages of a base, from its list in images/base."""
    lines = (FOLDER / f"{name}.packages").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def runtime_reference() -> str:
    """The runtime base by the content of its recipe."""
    recipe = (FOLDER / "trim-runtime").read_text(encoding="utf-8")
    return f"localhost/disagg-base:{text_digest(SUITE, *packages('runtime'), recipe)}"


def builder_reference() -> str:
    """The builder base by the content of its recipe, uv's version included."""
    version = output([uv(), "--version"])
    settings = [f"{name}={value}" for name, value in BUILDER_ENVIRONMENT.items()]
    return f"localhost/disagg-builder:{text_digest(SUITE, *packages('builder'), version, *settings)}"


def ensure_bases(buildah: Buildah, scratch: Path, log: Path, progress: Progress) -> Bases:
    """Return both bases, making those that the store does not hold.

    Raises:
        ClusterError: If Debian cannot be reached or a step fails; names the log.
    """
    bases = Bases(runtime_reference(), builder_reference())
    if not buildah.holds(bases.runtime):
        with progress.step("Make the runtime base image from Debian packages"):
            root = _bootstrap(scratch / "runtime", "extract", packages("runtime"), log)
            logged([str(FOLDER / "trim-runtime"), str(root)], log)
            buildah.commit_folder(root, bases.runtime, {}, log)
            shutil.rmtree(root)
    if not buildah.holds(bases.builder):
        with progress.step("Make the builder base image from Debian packages"):
            root = _bootstrap(scratch / "builder", "minbase", packages("builder"), log)
            shutil.copy2(uv(), root / "usr/local/bin/uv")
            buildah.commit_folder(root, bases.builder, BUILDER_ENVIRONMENT, log)
            shutil.rmtree(root)
    return bases


def _bootstrap(root: Path, variant: str, names: Sequence[str], log: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    argv = ["mmdebstrap", f"--variant={variant}", f"--hook-dir={MERGED_USR}", f"--include={','.join(names)}"]
    mirror = os.environ.get("DISAGG_DEBIAN_MIRROR")
    logged([*argv, SUITE, str(root), *([mirror] if mirror else [])], log)
    return root
