"""Which heading of docs/troubleshooting.md has cause and remedy of a reason. A test keeps both in step."""

from disagg_operator.reconcile.reporting.reasons import REASONS, WELL

PAGE = "docs/troubleshooting.md"


def title(kind: str, reason: str) -> str:
    """Return the heading of a condition's reason: the reason alone, where other conditions have it too."""
    shared = sum(reason in reasons for reasons in REASONS.values()) > 1
    return reason if shared else f"{kind}: {reason}"


def heading(kind: str, reason: str) -> str:
    """Return the page and anchor for a condition's reason; nothing where there is none.

    Args:
        kind: type of the condition.
        reason: its reason, which another version of the operator may have written.
    """
    if reason in WELL or reason not in REASONS.get(kind, ()):
        return ""
    return f"{PAGE}#{title(kind, reason).lower().replace(': ', '-')}"


def check_heading(check: str) -> str:
    """Return the page and anchor for a check before the engine's start, such as ``lockedMemory``."""
    return f"{PAGE}#preflight-{check.lower()}"
