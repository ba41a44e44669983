"""Version numbers that compare; what follows the numbers, such as `.post1` or `rc2`, does not count."""

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from source_images.errors import ImageError


class Version(tuple[int, ...]):
    """The numbers of a version, which compare as versions do."""

    __slots__ = ()

    def __str__(self) -> str:
        return ".".join(map(str, self))


def version_of(text: str, field: str = "VERSION") -> Version:
    """Read a version such as `1.2.1`, `v0.6.0` or `0.7.0.post1`.

    Args:
        text: The version.
        field: What the error calls it.

    Raises:
        ImageError: If it does not start with three numbers.
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise ImageError(f"{field}: {text!r} is no version", remedy=f"write one such as {field}=1.1.1")
    return Version(int(part) for part in found.groups())


VersionField = Annotated[Version, BeforeValidator(version_of), PlainSerializer(str)]
