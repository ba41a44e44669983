"""What a cluster must bring along for a device, label or API to be there, and what to run where it is not."""

from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

from pydantic import TypeAdapter

from disagg_operator.platforms.documents import read
from disagg_operator.platforms.profile import ProfileModel

_FILE = "prerequisites.yaml"


class Prerequisite(ProfileModel):
    """A component of a cluster.

    Attributes:
        name: what people call it.
        provides: names of extended resources, node labels, DeviceClasses and kinds (``group/version Kind``);
            a ``*`` stands for any text.
        install: the command that brings it, or shows what is there; nothing else, so that it can be copied.
        shows: whether the command only shows what is there.
        note: what to know beside the command.
        source: the document that says so.
    """

    name: str
    provides: tuple[str, ...]
    install: str
    shows: bool = False
    note: str = ""
    source: str


@cache
def provider_of(name: str) -> Prerequisite | None:
    """Return the component that provides a resource, label, DeviceClass or kind, where one is known."""
    return next((each for each in _all() if any(fnmatchcase(name, known) for known in each.provides)), None)


@cache
def _all() -> tuple[Prerequisite, ...]:
    text = (resources.files("disagg_operator.platforms") / _FILE).read_text(encoding="utf-8")
    return TypeAdapter(tuple[Prerequisite, ...]).validate_python(read(text, _FILE))
