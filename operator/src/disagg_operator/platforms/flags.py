"""Which arguments an engine's worker takes in which version: tables in ``arguments/``, read from the sources.

The table ``variables`` has, in the same form, the environment variables that each version of Dynamo knows.

Invariant: a table knows its versions. Of another version nothing is said, rather than something wrong.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated

import yaml
from pydantic import Field

from disagg_operator.platforms.profile import ProfileModel

_FOLDER = "arguments"


class Argument(ProfileModel):
    """One argument, by its name without dashes in front.

    Attributes:
        first, last: the versions between which it is known; none: the table's first and last.
        absent: versions between the two that do not know it.
        switch: whether it takes no value, and cannot be negated.
        deprecated: versions that warn who writes it, and will know it no longer.
    """

    first: Annotated[str | None, Field(alias="from")] = None
    last: Annotated[str | None, Field(alias="to")] = None
    absent: Annotated[tuple[str, ...], Field(alias="not")] = ()
    switch: bool = False
    deprecated: tuple[str, ...] = ()


class ArgumentTable(ProfileModel):
    """The arguments of one engine's worker.

    Attributes:
        versions: versions of the engine, the oldest first.
        arguments: arguments by name.
    """

    versions: tuple[str, ...]
    arguments: Mapping[str, Argument]

    def knows(self, version: str) -> bool:
        """Tell whether the table was made from this version."""
        return version in self.versions

    def versions_with(self, name: str) -> tuple[str, ...]:
        """Return the versions that know an argument, the oldest first."""
        found = self.arguments.get(name)
        if found is None:
            return ()
        first = 0 if found.first is None else self.versions.index(found.first)
        last = len(self.versions) if found.last is None else self.versions.index(found.last) + 1
        return tuple(each for each in self.versions[first:last] if each not in found.absent)

    def of(self, version: str) -> frozenset[str]:
        """Return the names of all arguments of a version."""
        return frozenset(name for name in self.arguments if version in self.versions_with(name))

    def deprecated_in(self, version: str) -> frozenset[str]:
        """Return the names of the arguments that a version warns of."""
        return frozenset(name for name, each in self.arguments.items() if version in each.deprecated)

    def is_switch(self, name: str) -> bool:
        """Tell whether an argument takes no value and cannot be negated."""
        found = self.arguments.get(name)
        return found is not None and found.switch


@cache
def argument_table(engine: str) -> ArgumentTable:
    """Return the table of an engine. It is read once.

    Raises:
        FileNotFoundError: the engine has none.
    """
    file = resources.files("disagg_operator.platforms") / _FOLDER / f"{engine}.yaml"
    document = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return ArgumentTable.model_validate(document)
