"""The commands of docs/air-gap.md mirror what is needed. skopeo and kubectl are stand-ins."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT, blocks

PAGE = "docs/air-gap.md"
SKOPEO = """#!/bin/sh
echo "$@" >> "$CALLS"
"""
KUBECTL = """#!/bin/sh
shift
exec "$PROGRAM" "$@"
"""
"""kubectl does the same with programs on the PATH."""


@pytest.fixture
def calls(tmp_path: Path) -> list[str]:
    """What skopeo is called with by the commands that mirror."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("skopeo", SKOPEO), ("kubectl", KUBECTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    shutil.copy(ROOT / "examples" / "04-efa" / "llama-70b.yaml", tmp_path)
    shutil.copy(ROOT / "charts/disagg-operator/ci/production-values.yaml", tmp_path / "values.yaml")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PROGRAM": str(Path(sys.executable).with_name("kubectl-disagg")),
        "CALLS": str(tmp_path / "calls"),
    }
    script = "".join(block.text for block in blocks() if block.page == PAGE and "skopeo copy" in block.text)
    subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path, env=environment, check=True, timeout=60)
    return (tmp_path / "calls").read_text().splitlines()


def test_every_image_goes_to_the_mirror_under_its_own_name(calls: list[str]) -> None:
    copied = [call.removeprefix("copy --all ").split() for call in calls]
    public = [words for words in copied if words[0].startswith("docker://")]
    assert "docker://nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.6.1" in [source for source, _ in public]
    for source, target in public:
        assert target == source.replace("docker://", "docker://registry.example.com:5000/")
    files = [words for words in copied if words not in public]
    assert [source.partition(":")[0] for source, _ in files] == ["oci-archive"] * 2
