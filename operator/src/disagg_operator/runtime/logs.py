"""Log lines: JSON for machines, or text for people.

Secrets never reach them: objects are not logged, only named.
"""

import logging
import sys
from typing import Literal

_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_CHATTY = ("kopf", "aiohttp.access")


def configure(level: str, form: Literal["json", "text"]) -> None:
    """Send all log lines of the process to standard error.

    Args:
        level: least severity that is logged.
        form: json for one object a line, text for people.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _json_formatter() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - not needed for text

    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )
