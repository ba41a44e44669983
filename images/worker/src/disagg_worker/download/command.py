"""The command `disagg-worker download`: ends with 0 once the model is there, else with 1 and the reason.

The reason goes into the container's termination message as JSON, from which the operator reads it.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from disagg_worker.download.download import Outcome, download
from disagg_worker.download.errors import DownloadError, Reason
from disagg_worker.download.hub import Asked
from disagg_worker.download.progress import SECONDS, say, size

MESSAGE = Path("/dev/termination-log")
_TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable
_LONGEST = 1500


def run(
    repository: str,
    directory: Path,
    *,
    revision: str | None,
    endpoint: str | None,
    patterns: Sequence[str],
    message: Path = MESSAGE,
    seconds: float = SECONDS,
) -> int:
    """Fetch a model; return the exit code.

    Args:
        repository: Its repository.
        directory: Where it is to be.
        revision: Branch, tag or commit; None for the default branch.
        endpoint: The hub; None for the usual one.
        patterns: Which files are wanted; none for the usual ones.
        message: Where the reason goes.
        seconds: Time between two lines of progress.
    """
    asked = Asked(repository, revision, os.environ.get(_TOKEN) or None, endpoint)
    try:
        outcome = download(asked, directory, patterns, seconds)
    except DownloadError as error:
        say(f"{error.reason}: {error.says}")
        _tell(message, {"reason": error.reason, "says": error.says[:_LONGEST]})
        return 1
    says = _holds(asked, outcome)
    say(says)
    _tell(message, {"reason": Reason.FETCHED, "says": says, "commit": outcome.commit})
    return 0


def _holds(asked: Asked, outcome: Outcome) -> str:
    files = f"{outcome.files} files of {size(outcome.bytes)}"
    return f"{asked.named}, commit {outcome.commit}: {files}."


def _tell(message: Path, found: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # outside a container there is nobody to read it
        message.write_text(json.dumps({"download": found}), encoding="utf-8")
