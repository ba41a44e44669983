"""Archives whose bytes depend on the names and content of their files alone."""

import gzip
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path


def write_archive(path: Path, files: Mapping[str, bytes], time: int, programs: frozenset[str]) -> None:
    """Write a .tar.gz.

    Args:
        path: the archive.
        files: content by name in the archive.
        time: modification time of all, in seconds since 1970.
        programs: names of the files that may be run.
    """
    with (
        path.open("wb") as raw,
        # Without a name: gzip would store the archive's own.
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mtime = time
            entry.mode = 0o755 if name in programs else 0o644
            archive.addfile(entry, BytesIO(content))
