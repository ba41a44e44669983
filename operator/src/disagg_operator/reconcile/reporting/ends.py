"""How containers ended. Pure."""

from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.reporting.log_prefixes import without_prefixes


def last_end(container: Object) -> Object | None:
    """Return how a container last ended, or None before its first end.

    Args:
        container: one of a pod's ``initContainerStatuses`` or ``containerStatuses``.
    """
    ends = (container.get(state, {}).get("terminated") for state in ("state", "lastState"))
    return next((each for each in ends if each), None)


def ending(ended: Object) -> str:
    """Return how a container ended, in brackets and with its last words, or nothing."""
    if not ended:
        return ""
    why = f" ({ended.get('reason', 'Error')}, exit code {ended.get('exitCode', '?')})"
    last_words = without_prefixes(str(ended.get("message", ""))).strip().splitlines()
    return f"{why}: {last_words[-1][:300].rstrip('.')}" if last_words else why
