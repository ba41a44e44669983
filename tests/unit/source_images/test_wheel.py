"""What is known of a cached wheel."""

from pathlib import Path

import pytest

from source_images.errors import ImageError
from source_images.wheel import Nixl, read_cache, stamp_path, write_stamp
from unit.source_images.simulated_dynamo import make_wheel

NAME = "tensorrt_llm-1.1.0-cp312-cp312-linux_x86_64.whl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trtllm_wheel"


def test_no_folder_and_an_empty_one_hold_no_wheel(folder: Path) -> None:
    assert read_cache(folder).nixl is Nixl.NO_WHEEL
    folder.mkdir()
    assert read_cache(folder).nixl is Nixl.NO_WHEEL


@pytest.mark.parametrize(("nixl", "known"), [(True, Nixl.YES), (False, Nixl.NO)])
def test_the_wheel_itself_says_whether_it_has_nixl(folder: Path, nixl: bool, known: Nixl) -> None:
    make_wheel(folder / NAME, nixl=nixl)
    assert read_cache(folder).nixl is known


def test_one_wheel_without_nixl_is_enough_because_build_sh_takes_any(folder: Path) -> None:
    make_wheel(folder / NAME, nixl=True)
    make_wheel(folder / "build" / NAME, nixl=False)
    assert read_cache(folder).nixl is Nixl.NO


def test_a_wheel_that_cannot_be_read_is_unknown(folder: Path) -> None:
    folder.mkdir()
    (folder / NAME).write_text("half a download")
    assert read_cache(folder).nixl is Nixl.UNKNOWN


def test_what_build_sh_leaves_is_its_own_and_nothing_else_is(folder: Path) -> None:
    make_wheel(folder / NAME, nixl=False)
    make_wheel(folder / "build" / NAME, nixl=False)
    (folder / "commit.txt").write_text("amd64_main\n")
    assert read_cache(folder).foreign == ()
    assert read_cache(folder).commit == "amd64_main"
    make_wheel(folder / "numpy-2-cp312.whl", nixl=False)
    (folder / "notes").mkdir()
    assert read_cache(folder).foreign == ("notes", "numpy-2-cp312.whl")


def test_a_link_to_a_folder_is_not_ours(folder: Path, tmp_path: Path) -> None:
    make_wheel(tmp_path / "elsewhere" / NAME, nixl=False)
    folder.symlink_to(tmp_path / "elsewhere")
    assert read_cache(folder).foreign


def test_a_stamp_counts_while_it_describes_the_wheels_that_lie_there(folder: Path) -> None:
    make_wheel(folder / NAME, nixl=True)
    write_stamp(
        folder, era="2025-beta", flags=["--tensorrtllm-commit", "main"], arch="amd64", dynamo="v0.7.0"
    )
    stamp = read_cache(folder).stamp
    assert stamp is not None
    assert (stamp.era, stamp.flags, stamp.dynamo) == ("2025-beta", ["--tensorrtllm-commit", "main"], "v0.7.0")
    make_wheel(folder / "build" / NAME, nixl=True)
    assert read_cache(folder).stamp is None


@pytest.mark.parametrize("content", ["", "[]", '{"era": "x"}'])
def test_a_stamp_that_is_not_ours_says_nothing(folder: Path, content: str) -> None:
    make_wheel(folder / NAME, nixl=True)
    stamp_path(folder).write_text(content)
    assert read_cache(folder).stamp is None


def test_a_wheel_that_came_out_without_nixl_is_no_success(folder: Path) -> None:
    make_wheel(folder / NAME, nixl=False)
    with pytest.raises(ImageError, match="built without NIXL"):
        write_stamp(folder, era="2025-beta", flags=[], arch="amd64", dynamo="v0.7.0")
    assert not stamp_path(folder).exists()
