"""The commands of ``kubectl disagg``, each loaded when it is called: most of a start is imports.

Invariant: what is asked of one command (its work, its help, what completes it) loads no other.
"""

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True)
class Entry:
    """Where a command is.

    Attributes:
        module: in this package; its ``EPILOG``, where it has one, ends the command's help.
        function: what is run, or a `typer.Typer` with commands below this one.
        scripted: whether scripts ask by its exit codes 1 and 2; see `exit_codes.ScriptedCommand`.
    """

    module: str
    function: str
    scripted: bool = False


ENTRIES = {
    "render": Entry("render", "render"),
    "lint": Entry("lint", "lint"),
    "convert": Entry("convert.command_line", "convert"),
    "images": Entry("images", "images"),
    "platforms": Entry("platforms", "platforms"),
    "profile": Entry("profile", "profile"),
    "size": Entry("size.command", "size"),
    "status": Entry("status", "status", scripted=True),
    "doctor": Entry("doctor.command_line", "doctor", scripted=True),
    "logs": Entry("logs", "logs", scripted=True),
    "chat": Entry("chat", "chat", scripted=True),
    "verify": Entry("verify", "verify", scripted=True),
    "rollout": Entry("rollout", "app"),
}
"""All commands by name, in the order in which help lists them."""


class LoadedWhenCalled(TyperGroup):
    """A group of `ENTRIES`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()


class _Commands(MutableMapping[str, Any]):
    """Commands by name. The names are known at once; a command is made when somebody looks at it."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name, ENTRIES[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)


def _command(name: str, entry: Entry) -> Any:
    module = import_module(f"{__package__}.{entry.module}")
    found = getattr(module, entry.function)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False)
    kind: dict[str, Any] = {}
    if entry.scripted:
        kind["cls"] = import_module(f"{__package__}.exit_codes").ScriptedCommand
    alone.command(name, epilog=getattr(module, "EPILOG", None), **kind)(found)
    return typer.main.get_command(alone)
