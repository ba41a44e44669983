"""buildah with an image store of its own, so that the machine's is not touched."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from testcluster.commands import logged, output, succeeds
from testcluster.errors import ClusterError
from testcluster.requirements import overlay_works


class Buildah:
    """Builds images below a folder.

    Args:
        home: Holds the image store and its layer cache.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        driver = "overlay" if overlay_works(home) else "vfs"
        self.prefix = [
            "buildah",
            "--storage-driver",
            driver,
            "--root",
            str(home / "root"),
            "--runroot",
            str(home / "run"),
        ]

    def holds(self, reference: str) -> bool:
        """Whether the store has this image."""
        return succeeds([*self.prefix, "inspect", "--type", "image", reference])

    def commit_folder(self, root: Path, reference: str, environment: Mapping[str, str], log: Path) -> None:
        """Make an image whose only layer is a root folder."""
        container = output([*self.prefix, "from", "scratch"]).strip()
        try:
            logged([*self.prefix, "add", container, str(root), "/"], log)
            settings = [f"--env={name}={value}" for name, value in environment.items()]
            logged(
                [*self.prefix, "config", "--env=PATH=/usr/local/bin:/usr/bin:/bin", *settings, container], log
            )
            logged([*self.prefix, "commit", container, reference], log)
        finally:
            with suppress(ClusterError):
                output([*self.prefix, "rm", container])

    def build(
        self,
        containerfile: Path,
        context: Path,
        reference: str,
        *,
        arguments: Mapping[str, str],
        volumes: Mapping[Path, str],
        log: Path,
        on_line: Callable[[str], None],
    ) -> None:
        """Build a Containerfile; steps whose input did not change come from the layer cache.

        Args:
            containerfile: What to build.
            context: The build context.
            reference: Name and tag of the result.
            arguments: Build arguments.
            volumes: Folders or files of this machine by where the build sees them, with `:ro` if read-only.
            log: File that gets the output.
            on_line: Called with each line of it.
        """
        argv = [*self.prefix, "bud", "--isolation", "chroot", "--layers", "--pull-never"]
        argv += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        argv += [f"--volume={source}:{target}" for source, target in volumes.items()]
        logged([*argv, "-f", str(containerfile), "-t", reference, str(context)], log, on_line=on_line)

    def export(self, reference: str, archive: Path, log: Path) -> None:
        """Write an image as a docker-archive; a partial file never bears the final name."""
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        logged([*self.prefix, "push", reference, f"docker-archive:{partial}:{reference}"], log)
        partial.rename(archive)
