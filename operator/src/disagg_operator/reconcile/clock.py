"""The time, as Kubernetes writes it."""

from datetime import UTC, datetime


def timestamp() -> datetime:
    """Return the time now, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
