"""Which Events a change of conditions is worth. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.v1alpha1.status import ConditionType
from disagg_operator.plan.model import ROLES
from disagg_operator.reconcile.computedomain.standing import Reason
from disagg_operator.reconcile.reporting.fetching import REFUSED

_WARNINGS = {
    *("AcceptedWithWarnings", "InvalidSpec", "NotSupported", "Blocked", "ReconcileError"),
    *(Reason.SWITCHED_OFF, Reason.DRIVER_MISSING, Reason.DOMAIN_MISSING),
    *("ProgressDeadlineExceeded", "VerificationFailed"),
    *(Reason.NAME_TAKEN, Reason.TEMPLATE_TAKEN),
    *REFUSED,
    *(Reason.PODS_OUTDATED, Reason.OUTSIDE_NVLINK, Reason.SEVERAL_CLIQUES),
}
_NEWS = {"RolloutInProgress", "RolloutPaused", "Paused", "DownloadRunning", "Fetched", *_WARNINGS}


@dataclass(frozen=True)
class Announcement:
    """An Event to be recorded: kind (Normal or Warning), stable reason and sentence."""

    kind: str
    reason: str
    message: str


def announcements(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Announcement]:
    """Yield what a person wants to be told about a change from one status to another.

    Args:
        old: the status before; empty for a new deployment.
        new: the status now.
    """
    for role in ROLES:
        wedged = new["roles"][role].get("wedged")
        if wedged and wedged != old.get("roles", {}).get(role, {}).get("wedged"):
            yield Announcement("Warning", "WorkerWedged", wedged)
    before = {condition["type"]: condition for condition in old.get("conditions", [])}
    for condition in new["conditions"]:
        last = before.get(condition["type"], {})
        if condition["type"] == ConditionType.AVAILABLE:
            yield from _availability(last, condition)
        elif condition["type"] == ConditionType.TRANSPORT_VERIFIED:
            yield from _transport(last, condition)
        elif condition["type"] == ConditionType.PLATFORM_READY:
            yield from _platform(last, condition)
        elif condition["reason"] in _NEWS and condition["reason"] != last.get("reason"):
            kind = "Warning" if condition["reason"] in _WARNINGS else "Normal"
            yield Announcement(kind, condition["reason"], condition["message"])


def _availability(last: Mapping[str, Any], condition: Mapping[str, Any]) -> Iterator[Announcement]:
    if condition["status"] == "True" and last.get("status") != "True":
        yield Announcement("Normal", "Available", condition["message"])
    elif condition["status"] != "True" and last.get("status") == "True":
        yield Announcement("Warning", condition["reason"], condition["message"])


def _transport(last: Mapping[str, Any], condition: Mapping[str, Any]) -> Iterator[Announcement]:
    was, now = last.get("status"), condition["status"]
    if (now, condition["reason"]) == (was, last.get("reason")):
        return
    if now == "False":
        yield Announcement("Warning", condition["reason"], condition["message"])
    elif now == "True" or was in ("True", "False"):
        yield Announcement("Normal", condition["reason"], condition["message"])


def _platform(last: Mapping[str, Any], condition: Mapping[str, Any]) -> Iterator[Announcement]:
    was, now = last.get("status"), condition["status"]
    if now == "False" and condition["reason"] != last.get("reason"):
        yield Announcement("Warning", condition["reason"], condition["message"])
    elif now == "True" and was == "False":
        yield Announcement("Normal", condition["reason"], condition["message"])
