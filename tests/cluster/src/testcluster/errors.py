"""The one error of this package: what failed, what to do about it, and the log that says more."""

from pathlib import Path


class ClusterError(Exception):
    """A failure that a person can act on.

    Args:
        message: What is wrong, as one sentence.
        remedy: What to do about it.
        log: The file that says more, if there is one.
    """

    def __init__(self, message: str, *, remedy: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.log = log

    def lines(self) -> list[str]:
        """The error as lines for a terminal."""
        lines = [self.message]
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        if self.log is not None:
            lines.append(f"Log: {self.log}")
        return lines
