"""Lines of the logs of many pods: how each is marked, and where a log goes on that broke off. Pure."""

from dataclasses import dataclass, field

from rich.text import Text

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

    Invariant: no line is told twice, and none is left out, where a log is asked for again since the last one.

    Attributes:
        time: stamp of the last line.
        told: how many lines of that stamp were told.
    """

    time: str = ""
    told: int = 0
    _again: int = 0

    def go_on(self) -> str:
        """Note that the log is asked for again, and return since when."""
        self._again = 0
        return self.time

    def read(self, stamped: str) -> str | None:
        """Return a line without its stamp, or None where it was told before.

        Args:
            stamped: line that begins with its time in RFC 3339.
        """
        time, _, line = stamped.partition(" ")
        if time < self.time:
            return None
        if time > self.time:
            self.time, self.told, self._again = time, 1, 1
            return line
        self._again += 1
        if self._again <= self.told:
            return None
        self.told = self._again
        return line


def plain(pod: str, line: str) -> str:
    """Return a line for a pipe."""
    return f"[{pod}] {line}"


def coloured(pod: str, line: str, colour: str) -> Text:
    """Return a line for a terminal: its own colours stay, and nothing else that would move the cursor."""
    return Text.assemble((f"[{pod}] ", colour), Text.from_ansi(line))
