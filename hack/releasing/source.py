"""The commit that a release is made from."""

import os
from dataclasses import dataclass
from pathlib import Path

from releasing.commands import ReleaseError, output


@dataclass(frozen=True)
class Source:
    """What a release is made from.

    Attributes:
        root: the checkout.
        commit: its commit.
        time: when that was made, in seconds since 1970; all files of a release bear it.
        modified: whether files differ from the commit.
        url: web page of the repository, such as https://github.com/OWNER/NAME; "" if it is not known.
        registry: where the images will be, such as ghcr.io/OWNER/NAME; "" if it is not known.
    """

    root: Path
    commit: str
    time: int
    modified: bool
    url: str
    registry: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What tells tools which time to write; https://reproducible-builds.org/specs/source-date-epoch/."""
        return {"SOURCE_DATE_EPOCH": str(self.time)}


def source_of(root: Path, *, snapshot: bool) -> Source:
    """Return the source that a checkout holds.

    REPOSITORY_URL and IMAGE_REGISTRY of the environment say where it is from, and where its images will be.

    Args:
        root: the checkout.
        snapshot: whether files may differ from the commit.

    Raises:
        ReleaseError: if it is no checkout, or one with changes that may not be.
    """
    changes = output(["git", "status", "--porcelain"], root)
    if changes and not snapshot:
        raise ReleaseError(
            f"files differ from the commit that the release would name:\n{changes}"
            "Commit them, or pass SNAPSHOT=1 for a release that says so and is not published"
        )
    commit, time = output(["git", "log", "-1", "--format=%H %ct"], root).split()
    url, registry = (os.environ.get(name, "").rstrip("/") for name in ("REPOSITORY_URL", "IMAGE_REGISTRY"))
    return Source(root, commit, int(time), bool(changes), url, registry)
