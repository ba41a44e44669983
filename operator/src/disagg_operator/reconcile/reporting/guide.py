"""Which heading of docs/troubleshooting.md has cause and remedy of a reason. A test keeps both in step."""

from typing import get_args

from disagg_operator.verify.verdict import Reason

_PAGE = "docs/troubleshooting.md"
GUIDED = frozenset(get_args(Reason)) - {"AsPromised"}
"""Reasons of a verdict that have a heading."""


def verdict_heading(reason: str) -> str:
    """Return the page and anchor for a reason of TransportVerified; nothing where it explains itself."""
    return f"{_PAGE}#transportverified-{reason.lower()}" if reason in GUIDED else ""


def check_heading(check: str) -> str:
    """Return the page and anchor for a check before the engine's start, such as ``lockedMemory``."""
    return f"{_PAGE}#preflight-{check.lower()}"
