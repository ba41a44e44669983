"""The end of a log of any length. Pure."""

from collections import deque


class LastLines:
    """Keeps the last lines of what it is given, up to a number of bytes.

    Attributes:
        dropped: how many of the first lines were let go.
    """

    def __init__(self, most_bytes: int) -> None:
        """Make one without lines.

        Args:
            most_bytes: how much is kept; of a last line that is longer, nothing.
        """
        self._most, self._size = most_bytes, 0
        self._lines: deque[tuple[str, int]] = deque()
        self.dropped = 0

    def add(self, line: str) -> None:
        """Take the next line, without its end."""
        size = len(line.encode(errors="replace")) + 1
        self._lines.append((line, size))
        self._size += size
        while self._size > self._most:
            self._size -= self._lines.popleft()[1]
            self.dropped += 1

    def text(self) -> str:
        """Return the lines that are kept."""
        return "".join(f"{line}\n" for line, _ in self._lines)
