"""What UCX and NIXL write before each line of a log, which differs from run to run. Pure.

Where an engine ends again and again for one reason, its last words differ in nothing else.
"""

import re

_UCX = r"\[\d{9,}\.\d+\]\s+\[[^\]\s]+:\d+\s*:\d+\]\s+(?:\S+\.\w+:\d+\s+)?"
_GLOG = r"\b[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ \S+?:\d+\] "
_PREFIX = re.compile(f"{_UCX}|{_GLOG}")


def without_prefixes(text: str) -> str:
    """Return a text without time, process and source line, wherever a line of a log stands in it."""
    return _PREFIX.sub("", text)
