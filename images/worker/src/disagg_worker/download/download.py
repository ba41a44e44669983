"""One download from start to end: lock, list, look for space, fetch, check, name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from disagg_worker.download.choice import chosen
from disagg_worker.download.errors import DownloadError, Reason
from disagg_worker.download.hub import Asked, fetch, listing
from disagg_worker.download.place import Place, disk_fault
from disagg_worker.download.progress import SECONDS, say, size, told

_SPARE = 64 << 20
"""Bytes that stay free, for the library's own notes and whatever else is on the volume."""


@dataclass(frozen=True)
class Outcome:
    """What a directory holds.

    Attributes:
        commit: Commit of the repository.
        bytes: Size of all files.
        files: Number of files.
        fetched: Whether they were fetched just now.
    """

    commit: str
    bytes: int
    files: int
    fetched: bool


def download(
    asked: Asked, directory: Path, patterns: Sequence[str] = (), seconds: float = SECONDS
) -> Outcome:
    """Have a model in a directory, fetched by this process, by another one or long ago.

    Args:
        asked: The model.
        directory: Where it is to be.
        patterns: Which files are wanted, as shell patterns; none for all but further copies of the weights.
        seconds: Time between two lines of progress.

    Raises:
        DownloadError: It cannot be had now.
    """
    place = Place(directory)
    try:
        with place.locked(lambda: say(f"waiting for another pod that fetches {asked.named}")):
            return _there(place, asked) or _fetched(place, asked, patterns, seconds)
    except OSError as error:
        raise disk_fault(error, directory.parent) or error from error


def _there(place: Place, asked: Asked) -> Outcome | None:
    held = place.held()
    if held is None:
        return None
    say(f"{asked.named} is in {place.directory} already, as of commit {held['commit']}")
    return Outcome(held["commit"], held["bytes"], held["files"], fetched=False)


def _fetched(place: Place, asked: Asked, patterns: Sequence[str], seconds: float) -> Outcome:
    found = listing(asked)
    sizes = {file: found.sizes[file] for file in chosen(found.sizes, patterns)}
    if not sizes:
        wanted = f"matches {', '.join(patterns)}" if patterns else "is there"
        field = "spec.model.source.huggingFace.files"
        says = f"No file of {asked.named} {wanted}. Correct {field}, or leave it out for all files."
        raise DownloadError(Reason.NO_FILES, says)
    total = sum(sizes.values())
    place.begin()
    _make_sure_of_space(place, asked, total)
    say(f"fetching {len(sizes)} files of {asked.named}, commit {found.commit}, {size(total)} in all")
    with told(place.arrived, total, seconds):
        fetch(asked, found.commit, list(sizes), place.partial)
    _check(place, asked, sizes)
    outcome = Outcome(found.commit, total, len(sizes), fetched=True)
    place.finish(
        {
            "repository": asked.repository,
            "revision": asked.revision,
            "commit": found.commit,
            "bytes": total,
            "files": len(sizes),
        }
    )
    return outcome


def _make_sure_of_space(place: Place, asked: Asked, total: int) -> None:
    lacking = total + _SPARE - place.arrived() - place.free()
    if lacking > 0:
        says = (
            f"{asked.named} takes {size(total)}, for which the volume of {place.directory.parent} lacks "
            f"{size(lacking)}: {size(place.free())} are free. Make it larger, free space on it, or fetch "
            "fewer files by spec.model.source.huggingFace.files."
        )
        raise DownloadError(Reason.NO_SPACE, says)


def _check(place: Place, asked: Asked, sizes: dict[str, int]) -> None:
    """See that what arrived has the size that the hub told."""
    for file, expected in sizes.items():
        path = place.partial / file
        actual = path.stat().st_size if path.is_file() else -1
        if actual != expected:
            path.unlink(missing_ok=True)
            says = f"{file} of {asked.named} came as {max(actual, 0)} of {expected} bytes. It is tried again."
            raise DownloadError(Reason.DOWNLOAD_FAILED, says)
