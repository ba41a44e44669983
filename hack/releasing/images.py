"""The images for each architecture, as OCI archives, where Docker is.

Without Docker there are none: the public bases come from a registry. What `make images` builds on bases made
of Debian packages is for the machine that it runs on, and for tests: RUN steps of another architecture need
an emulator in the kernel.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from releasing.commands import ReleaseError, output
from releasing.source import Source

NAMES = ("operator", "worker")


def docker_works(root: Path) -> bool:
    """Tell whether images can be built here."""
    if shutil.which("docker") is None:
        return False
    try:
        output(["docker", "info"], root)
        output(["docker", "buildx", "version"], root)
    except ReleaseError:
        return False
    return True


def build_images(source: Source, folder: Path, version: str, platforms: Sequence[str]) -> list[Path]:
    """Write each image, with all its platforms, as an OCI archive into a folder; return their paths."""
    folder.mkdir()
    built = []
    for name in NAMES:
        archive = folder / f"disagg-{name}-{version}.oci.tar"
        argv: list[str | Path] = ["docker", "buildx", "build", "--file", f"images/{name}/Containerfile"]
        argv += ["--platform", ",".join(platforms), "--provenance=false"]
        argv += ["--label", f"org.opencontainers.image.revision={source.commit}"]
        argv += ["--label", f"org.opencontainers.image.source={source.url}"] if source.url else []
        argv += ["--output", f"type=oci,dest={archive},rewrite-timestamp=true", "."]
        output(argv, source.root, source.environment)
        built.append(archive)
    return built
