"""The operator's and the worker's image, built once per content.

Invariant: an image's tag is the hash of everything it is built from, so an unchanged image is neither built
nor loaded again, and a pod that names a tag runs exactly that source.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from testcluster.baseimage import CERTIFICATES, builder_reference, ensure_bases, runtime_reference
from testcluster.buildah import Buildah
from testcluster.commands import logged
from testcluster.console import Progress, Step
from testcluster.containerfile import context_sources
from testcluster.digest import source_files, tree_digest
from testcluster.errors import ClusterError
from testcluster.locking import exclusive
from testcluster.paths import REPOSITORY, Paths
from testcluster.providers.base import Image
from testcluster.requirements import IMAGE_PACKAGES, ensure_packages

NAMES = ("operator", "worker")
# Any time that is always the same: what is copied into an image then depends on its content alone.
STAGED_TIME = 1_577_836_800


class ImageStore:
    """Builds and keeps the images.

    Args:
        paths: Where builds are cached.
        progress: Shows the steps.
        docker: Whether to build with Docker on public base images; else with buildah on our own.
    """

    def __init__(self, paths: Paths, progress: Progress, *, docker: bool) -> None:
        self.paths = paths
        self.progress = progress
        self.docker = docker

    def ensure(self) -> list[Image]:
        """Return both images, building those whose content is new.

        Raises:
            ClusterError: If a build fails; names the log.
        """
        if not self.docker:
            ensure_packages(IMAGE_PACKAGES, self.paths, self.progress)
        with exclusive(
            self.paths.cache / "images.lock", lambda: self.progress.note("Another build runs; waiting …")
        ):
            return [self._ensure(name) for name in NAMES]

    def _ensure(self, name: str) -> Image:
        files = image_files(name)
        bases = "docker" if self.docker else f"{runtime_reference()} {builder_reference()}"
        tag = tree_digest(REPOSITORY, files, bases)
        reference = f"disagg.local/{name}:{tag}"
        archive = self.paths.cache / "images" / f"{name}-{tag}.tar"
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            self._build(name, files, reference, archive)
            for old in archive.parent.glob(f"{name}-*.tar"):
                if old != archive:
                    old.unlink()
        return Image(name, reference, archive)

    def _build(self, name: str, files: list[str], reference: str, archive: Path) -> None:
        log = self.paths.build_logs / f"image-{name}.log"
        with _staged(files, self.paths.cache / "contexts" / name) as context:
            containerfile = context / containerfile_of(name)
            if self.docker:
                with self.progress.step(f"Build the {name} image with Docker"):
                    logged(["docker", "build", "-f", str(containerfile), "-t", reference, str(context)], log)
                    logged(["docker", "save", "-o", str(archive), reference], log)
                return
            buildah = Buildah(self.paths.cache / "buildah")
            bases = ensure_bases(buildah, self.paths.cache / "bootstrap", log, self.progress)
            with self.progress.step(f"Build the {name} image") as step:
                buildah.build(
                    containerfile,
                    context,
                    reference,
                    arguments={"BASE": bases.runtime, "BUILDER_BASE": bases.builder},
                    volumes=self._volumes(),
                    log=log,
                    on_line=_shown(step),
                )
            with self.progress.step(f"Export the {name} image") as step:
                buildah.export(reference, archive, log)
                step.result = f"{archive.stat().st_size / 1e6:.0f} MB"

    def _volumes(self) -> Mapping[Path, str]:
        downloads = self.paths.cache / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        return {downloads: "/root/.cache/uv", Path(CERTIFICATES): f"{CERTIFICATES}:ro"}


def given_images(environment: Mapping[str, str]) -> list[Image]:
    """The images that an existing cluster pulls, from DISAGG_OPERATOR_IMAGE and DISAGG_WORKER_IMAGE.

    Raises:
        ClusterError: If one of them is not set.
    """
    variables = {name: f"DISAGG_{name.upper()}_IMAGE" for name in NAMES}
    missing = [variable for variable in variables.values() if not environment.get(variable)]
    if missing:
        raise ClusterError(
            f"an existing cluster pulls its images from a registry, and {' and '.join(missing)} is not set",
            remedy="push the images and set these variables to their references",
        )
    return [Image(name, environment[variable], None) for name, variable in variables.items()]


def containerfile_of(name: str) -> str:
    """The path of an image's Containerfile in the repository."""
    return f"images/{name}/Containerfile"


def image_files(name: str) -> list[str]:
    """Every file of the repository that an image is built from.

    Raises:
        ClusterError: If the Containerfile, or something that it copies, does not exist.
    """
    containerfile = containerfile_of(name)
    try:
        sources = context_sources((REPOSITORY / containerfile).read_text(encoding="utf-8"))
        return source_files(REPOSITORY, [containerfile, *sources])
    except FileNotFoundError as error:
        missing = error.filename or error.args[0]
        raise ClusterError(f"{containerfile} needs {missing}, which does not exist") from None


@contextmanager
def _staged(files: list[str], context: Path) -> Iterator[Path]:
    shutil.rmtree(context, ignore_errors=True)
    try:
        for name in files:
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
        for path in (context, *context.rglob("*")):
            os.utime(path, (STAGED_TIME, STAGED_TIME))
        yield context
    finally:
        shutil.rmtree(context, ignore_errors=True)


def _shown(step: Step) -> Callable[[str], None]:
    def show(line: str) -> None:
        if line.startswith(("STEP", "[")):
            step.detail = line[:90]

    return show
