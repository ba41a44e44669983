"""How long is waited between two tries: of what does not last 10 s, doubling to 5 min. Pure."""

from datetime import datetime, timedelta

LASTED = timedelta(minutes=10)
"""What lasted for so long begins from the start."""
_FIRST = timedelta(seconds=10)
_LONGEST = timedelta(minutes=5)
_DOUBLINGS = 10


def pause(number: int) -> timedelta:
    """Return how long to wait the first (1), second, … time in a row."""
    return min(_FIRST * (1 << min(max(number, 1) - 1, _DOUBLINGS)), _LONGEST)


def is_recent(at: datetime, now: datetime, pause: timedelta) -> bool:
    """Tell whether something was done so shortly ago that the pause after it is not over.

    Args:
        at: when it was done.
        now: the time. A clock that was set back holds nothing up.
        pause: how long is waited.
    """
    return timedelta(0) <= now - at < pause
