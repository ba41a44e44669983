"""How images are asked for of Docker, which cannot run here."""

import json
from pathlib import Path

import pytest

from releasing.images import build_images, docker_works
from releasing.source import Source

SIMULATED_DOCKER = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([*sys.argv[1:], os.environ.get("SOURCE_DATE_EPOCH")]), file=calls)
for word in sys.argv:
    if word.startswith("type=oci,dest="):
        Path(word.split("=")[2].split(",")[0]).touch()
"""
"""Stands in for Docker: writes its arguments down."""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the simulated Docker on the PATH writes its calls."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(SIMULATED_DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_both_images_are_built_for_both_architectures(tmp_path: Path, calls: Path) -> None:
    assert docker_works(tmp_path)
    source = Source(tmp_path, "c" * 40, 1_700_000_000, modified=False, url="https://example.com/it")
    built = build_images(source, tmp_path / "images", "1.2.3", ["linux/amd64", "linux/arm64"])
    assert [path.name for path in built] == ["disagg-operator-1.2.3.oci.tar", "disagg-worker-1.2.3.oci.tar"]
    asked = [json.loads(line) for line in calls.read_text().splitlines()]
    builds = [words for words in asked if words[:2] == ["buildx", "build"]]
    assert [words[words.index("--file") + 1] for words in builds] == [
        "images/operator/Containerfile",
        "images/worker/Containerfile",
    ]
    for words in builds:
        assert words[words.index("--platform") + 1] == "linux/amd64,linux/arm64"
        assert f"org.opencontainers.image.revision={'c' * 40}" in words
        assert words[-1] == "1700000000", "SOURCE_DATE_EPOCH"


def test_without_docker_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not docker_works(tmp_path)
