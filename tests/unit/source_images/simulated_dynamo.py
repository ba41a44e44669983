"""Simulated: a Dynamo checkout whose build.sh records its arguments, and programs that only answer."""

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from source_images.wheel import NIXL_LIBRARY

EXPERIMENTAL = ("use-default-experimental-tensorrtllm-commit", "trtllm-use-nixl-kvcache-experimental")
BETA = ("tensorrtllm-git-url", "tensorrtllm-commit")

# Written as NVIDIA's is where that is read: case labels, the list of frameworks, the default commit.
_BUILD_SH = """#!/usr/bin/env bash
declare -A FRAMEWORKS=(["VLLM"]=1 ["TRTLLM"]=2)
DEFAULT_EXPERIMENTAL_TRTLLM_COMMIT="c0ffee"
here=$(cd "$(dirname "$0")/.." && pwd)
printf '%s\\n' "$*" >>"$here/recorded"
wheel_dir=$DEFAULT_WHEEL_DIR
while [ $# -gt 0 ]; do
  case $1 in
        -h | --help)
            exit 0
            ;;
        --tensorrtllm-pip-wheel-dir)
            wheel_dir=$2
            shift
            ;;
OPTIONS
  esac
  shift
done
if [ -e "$here/broken" ]; then
  echo "ERROR: Failed to build TensorRT-LLM wheel"
  exit 3
fi
mkdir -p "$wheel_dir"
cp "$here/tensorrt_llm-1-cp312.whl" "$wheel_dir/"
echo amd64_c0ffee >"$wheel_dir/commit.txt"
"""


@dataclass(frozen=True)
class SimulatedDynamo:
    """A checkout.

    Args:
        folder: Where it is.
    """

    folder: Path

    def recorded(self) -> list[str]:
        """The arguments of each run of build.sh."""
        path = self.folder / "recorded"
        return path.read_text().splitlines() if path.exists() else []


def make_wheel(path: Path, *, nixl: bool) -> Path:
    """Write a wheel that has NIXL or not, as TensorRT-LLM packs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as archive:
        archive.writestr("tensorrt_llm/libs/libtensorrt_llm.so", "")
        if nixl:
            archive.writestr(f"tensorrt_llm/libs/{NIXL_LIBRARY}", "")
    return path


def make_dynamo(folder: Path, options: tuple[str, ...], tag: str, *, nixl: bool = True) -> SimulatedDynamo:
    """Make a checkout whose build.sh knows some options and compiles a wheel with NIXL or not."""
    script = folder / "container/build.sh"
    script.parent.mkdir(parents=True)
    labels = "".join(f"        --{option})\n            ;;\n" for option in options)
    script.write_text(_BUILD_SH.replace("OPTIONS\n", labels))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    make_wheel(folder / "tensorrt_llm-1-cp312.whl", nixl=nixl)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-C", str(folder)]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "release"], ["tag", tag]):
        subprocess.run([*git, *arguments], check=True)
    return SimulatedDynamo(folder)


def programs(folder: Path, *names: str) -> dict[str, str]:
    """An environment in which programs of these names answer, before those that are installed."""
    folder.mkdir()
    for name in names:
        path = folder / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
