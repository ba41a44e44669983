"""What a plan for an image is: commands in their order, and what to write into the DisaggDeployment."""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from source_images.checkout import Checkout
from source_images.eras import Architecture
from source_images.wheel import WheelCache


class Transfer(StrEnum):
    """How the KV cache is to be moved: `spec.transfer.method`."""

    NIXL = "NIXL"
    UCX = "UCX"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        era: Name of the era.
        arch: Architecture of the image.
        transfer: What the image must be able to do.
        tag: Reference of the image that is made; where none is given, the one that is made anyway.
        version: Release of Dynamo, for eras whose images are published.
        trtllm_commit: TensorRT-LLM to build instead of the `main` that seed 003 names.
        base_image: Image to lay EFA over, instead of the release's standard image.
        efa_installer: EFA installer to lay in, instead of the default.
        libfabric: libfabric to lay over the installer's, instead of the default.
    """

    era: str
    arch: Architecture
    transfer: Transfer = Transfer.NIXL
    tag: str | None = None
    version: str | None = None
    trtllm_commit: str | None = None
    base_image: str | None = None
    efa_installer: str | None = None
    libfabric: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """What was observed before planning.

    Args:
        checkout: The Dynamo checkout that the person named, if any.
        cache: What build.sh's wheel cache holds.
        engine: The container engine to lay EFA over an image with.
    """

    checkout: Checkout | None
    cache: WheelCache
    engine: str = "docker"


@dataclass(frozen=True)
class Step:
    """A command.

    Args:
        title: What it does, as the progress shows it.
        argv: Program and arguments.
        why: Why it is done.
        cwd: Folder to run in; nothing where the folder does not matter.
    """

    title: str
    argv: tuple[str, ...]
    why: str
    cwd: Path | None = None

    def shell(self) -> str:
        """The command as a line that a shell runs."""
        line = shlex.join(self.argv)
        return f"(cd {shlex.quote(str(self.cwd))} && {line})" if self.cwd else line


@dataclass(frozen=True)
class Outcome:
    """What to write into the DisaggDeployment afterwards.

    Args:
        image: `spec.runtime.image`.
        version: `spec.runtime.version`, the Dynamo release; unknown between two releases.
        transfer: `spec.transfer.method`.
        needs: Services that must run before the workers start.
    """

    image: str
    version: str | None
    transfer: Transfer
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All that is to be done.

    Args:
        steps: Commands in their order; none where the image is published.
        notes: What a person should know.
        outcome: What comes of it.
        compiles: Whether TensorRT-LLM is compiled, which takes hours and much disk.
        engines: Programs of which one must answer, the best first; none where nothing is made.
    """

    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    outcome: Outcome
    compiles: bool = False
    engines: tuple[str, ...] = ()
