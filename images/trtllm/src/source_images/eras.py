"""The eras of Dynamo's TensorRT-LLM images: `eras.yaml` as checked values, each with its source."""

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from source_images.errors import ImageError
from source_images.versions import Version, VersionField

FOLDER = Path(__file__).resolve().parents[2]


class Architecture(StrEnum):
    """A CPU architecture as container images name it."""

    AMD64 = "amd64"
    ARM64 = "arm64"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class BuiltEra(_Data):
    """An era whose image Dynamo's build.sh makes.

    Args:
        name: The era.
        about: What was so in it.
        nixl_flags: Options of build.sh that give the image NIXL.
        nixl_architectures: Architectures on which TensorRT-LLM has NIXL.
        needs: Services that must run before the workers start.
        checkout: A release of Dynamo whose build.sh knows the options.
        releases: All such releases, as people say it.
        known_good_commit: The TensorRT-LLM that works with these releases, where the options name `main`.
        source: The page that states the options.
        releases_source: How the releases are known.
    """

    name: str
    about: str
    nixl_flags: tuple[str, ...]
    nixl_architectures: tuple[Architecture, ...]
    needs: tuple[str, ...]
    checkout: str
    releases: str
    known_good_commit: str = ""
    source: str
    releases_source: str

    @property
    def options(self) -> tuple[str, ...]:
        """The names among `nixl_flags`, without their values."""
        return tuple(flag for flag in self.nixl_flags if flag.startswith("--"))


class PublishedEra(_Data):
    """An era whose image NVIDIA publishes, at least without EFA."""

    name: str
    about: str
    first: VersionField
    source: str
    first_source: str
    efa: bool


class EfaImages(_Data):
    """The EFA images of some releases, the first and the last included."""

    first: VersionField
    last: VersionField | None = None
    suffix: str
    architectures: tuple[Architecture, ...]
    source: str

    def hold(self, version: Version) -> bool:
        """Whether this is about the version."""
        return self.first <= version and (self.last is None or version <= self.last)


class Pin(_Data):
    """A version that is laid into an image: which by default, and which is the oldest that works."""

    default: VersionField
    minimum: VersionField
    reason: str
    source: str
    architectures: tuple[Architecture, ...] = tuple(Architecture)


class EfaLayer(_Data):
    """What is laid over a standard image to give it EFA, and what can be done instead."""

    instead: str
    installer: Pin
    libfabric: Pin


class WheelCache(_Data):
    """Where build.sh keeps the TensorRT-LLM wheel that it compiled."""

    path: Path
    source: str


class Disk(_Data):
    """Free space in GB that compiling TensorRT-LLM takes."""

    free_gb: int
    source: str


class Eras(_Data):
    """All of `eras.yaml`."""

    built: tuple[BuiltEra, ...]
    published: tuple[PublishedEra, ...]
    image: str
    efa_images: tuple[EfaImages, ...]
    efa_layer: EfaLayer
    wheel_cache: WheelCache
    disk: Disk

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = self.names()
        if len(set(names)) != len(names):
            raise ValueError(f"two eras have one name: {names}")
        return self

    def names(self) -> list[str]:
        """The eras, oldest first."""
        return [era.name for era in self._all()]

    def era(self, name: str) -> BuiltEra | PublishedEra:
        """Find an era.

        Raises:
            ImageError: If there is none of that name.
        """
        for era in self._all():
            if era.name == name:
                return era
        fault = f"there is no era {name!r}" if name else "no era is named"
        raise ImageError(f"ERA: {fault}", remedy=f"write one of: {', '.join(self.names())}")

    def _all(self) -> tuple[BuiltEra | PublishedEra, ...]:
        return (*self.built, *self.published)

    def fitting(self, options: frozenset[str]) -> list[BuiltEra]:
        """The eras that a build.sh with these options can build."""
        return [era for era in self.built if options.issuperset(era.options)]

    def efa_tag(self, version: Version, arch: Architecture) -> str | None:
        """The tag of the EFA image that NVIDIA publishes for a release and architecture, if any."""
        images = next((images for images in self.efa_images if images.hold(version)), None)
        return f"{version}{images.suffix}" if images and arch in images.architectures else None


@cache
def load() -> Eras:
    """Read `eras.yaml`."""
    return Eras.model_validate(yaml.safe_load((FOLDER / "eras.yaml").read_text(encoding="utf-8")))
