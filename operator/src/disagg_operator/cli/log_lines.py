"""Lines of the logs of many pods: how each is marked, and where a log goes on that broke off. Pure."""

import re
from dataclasses import dataclass, field

from rich.text import Text

from disagg_operator.cli.terminal import printable

_COLOUR = re.compile(r"(\x1b\[[\d;:]*m)")
"""Select Graphic Rendition of ECMA-48: colours and weights, and nothing that moves the cursor."""
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\S+")
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")


@dataclass
class Palette:
    """A colour for each pod, in the order in which they come."""

    _given: dict[str, str] = field(default_factory=dict)

    def of(self, pod: str) -> str:
        """Return the colour of a pod, which stays the same."""
        return self._given.setdefault(pod, _COLOURS[len(self._given) % len(_COLOURS)])


@dataclass
class Position:
    """How far a log that is stamped with times was read.

    Invariant: no line that bears a stamp is told twice, and none is left out, where a log is asked for again
    since the last one. What bears none, such as the rest of a line that was cut or what the kubelet itself
    says, moves the position nowhere.

    Attributes:
        time: stamp of the last line.
        told: how many lines of that stamp were told.
    """

    time: str = ""
    told: int = 0
    _again: int = 0
    _behind: bool = False
    """Whether the lines that come may have been told before."""
    _left_out: bool = False
    """Whether the last line with a stamp was told before; what follows without one is its rest."""

    def go_on(self) -> str:
        """Note that the log is asked for again, and return since when."""
        self._again, self._behind, self._left_out = 0, bool(self.time), False
        return self.time

    def read(self, stamped: str) -> str | None:
        """Return a line without its stamp, or None where it was told before.

        Args:
            stamped: line that begins with its time in RFC 3339.
        """
        time, _, line = stamped.partition(" ")
        if _STAMP.fullmatch(time) is None:
            return None if self._left_out else stamped
        self._left_out = self._behind and not self._is_new(time)
        if self._left_out:
            return None
        if time > self.time:
            self.time, self.told = time, 1
        elif time == self.time:
            self.told += 1
        return line

    def _is_new(self, time: str) -> bool:
        """Tell whether a line was not told before, while those that were come again."""
        if time == self.time:
            self._again += 1
            self._behind = self._again <= self.told
        else:
            self._behind = time < self.time
        return not self._behind


def plain(pod: str, line: str) -> str:
    """Return a line for a pipe."""
    return f"[{pod}] {line}"


def coloured(pod: str, line: str, colour: str) -> Text:
    """Return a line for a terminal: its own colours stay, and nothing else that a terminal would obey."""
    # Every other part is a colour.
    parts = [part if index % 2 else printable(part) for index, part in enumerate(_COLOUR.split(line))]
    return Text.assemble((f"[{pod}] ", colour), Text.from_ansi("".join(parts)))
