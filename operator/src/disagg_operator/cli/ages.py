"""How long ago something was, as kubectl writes it: ``45s``, ``12m``, ``3h5m``, ``2d4h``. Pure."""

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def age(since: str | None, now: datetime) -> str:
    """Return the time since a timestamp of Kubernetes, or nothing where there is none.

    Args:
        since: time in RFC 3339; one in the future, by another clock, is now.
        now: the time, with its zone.
    """
    if not since:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h{seconds % _HOUR // _MINUTE}m"
    return f"{seconds // _DAY}d{seconds % _DAY // _HOUR}h"
