"""The directory of a model, and what is said of a volume. The volume that is full is SIMULATED."""

import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from disagg_worker.download import download as downloads
from disagg_worker.download.download import download
from disagg_worker.download.errors import DownloadError, Reason
from disagg_worker.download.hub import Asked, Listing
from disagg_worker.download.place import Place, disk_fault

Usage = namedtuple("Usage", ("total", "used", "free"))
GB = 10**9


def refused(asked: Asked, folder: Path) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        download(asked, folder)
    return caught.value


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub, SIMULATED by its answers: one file of 5 GB. What is fetched is noted, and does not come."""
    fetched: list[str] = []

    def fetch(_asked: Asked, _commit: str, files: list[str], _folder: Path) -> None:
        fetched.extend(files)

    monkeypatch.setattr(downloads, "listing", lambda _: Listing("c0ffee", {"model.safetensors": 5 * GB}))
    monkeypatch.setattr(downloads, "fetch", fetch)
    return fetched


def test_a_volume_that_is_too_small_is_told_before_anything_is_fetched(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GB, 8 * GB, 2 * GB))
    error = refused(Asked("acme/big"), tmp_path / "cache" / "big")
    assert error.reason == Reason.NO_SPACE
    assert "takes 5.0 GB" in error.says
    assert "lacks 3.1 GB: 2.0 GB are free" in error.says
    assert not hub


def test_what_has_arrived_needs_no_space_again(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GB, 8 * GB, 2 * GB))
    monkeypatch.setattr(Place, "arrived", lambda _: 4 * GB)
    error = refused(Asked("acme/big"), tmp_path / "cache" / "big")
    assert hub == ["model.safetensors"]
    assert error.reason == Reason.DOWNLOAD_FAILED, "the simulated hub sends nothing"
    assert "0 of 5000000000 bytes" in error.says


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, Reason.NO_SPACE),
        (errno.EDQUOT, Reason.NO_SPACE),
        (errno.EACCES, Reason.NOT_WRITABLE),
        (errno.EROFS, Reason.NOT_WRITABLE),
    ],
)
def test_an_error_of_the_volume_says_what_to_do(number: int, reason: Reason, tmp_path: Path) -> None:
    fault = disk_fault(OSError(number, "as told"), tmp_path)
    assert fault is not None
    assert fault.reason == reason
    assert disk_fault(OSError(errno.EIO, "as told"), tmp_path) is None


def test_a_directory_without_a_marker_is_not_touched(tmp_path: Path) -> None:
    place = Place(tmp_path / "model")
    place.directory.mkdir()
    (place.directory / "mine").write_text("kept")
    place.begin()
    with pytest.raises(DownloadError) as caught:
        place.finish({"commit": "c0ffee"})
    assert caught.value.reason == Reason.NOT_WRITABLE
    assert (place.directory / "mine").read_text() == "kept"


def test_a_directory_is_there_only_once_it_is_whole(tmp_path: Path) -> None:
    place = Place(tmp_path / "model")
    place.begin()
    (place.partial / ".cache").mkdir()
    assert place.held() is None
    assert not place.directory.exists()
    place.finish({"commit": "c0ffee"})
    assert place.held() == {"commit": "c0ffee"}
    assert not (place.directory / ".cache").exists()
    assert not place.partial.exists()
