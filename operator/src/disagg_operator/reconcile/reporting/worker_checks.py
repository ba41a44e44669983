"""What the checks in worker pods found before the engines started, from the termination messages. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.wording import counted
from disagg_operator.build.pods import CHECK
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.reporting.ends import last_end
from disagg_operator.reconcile.reporting.log_prefixes import without_prefixes

_LONGEST = 200


@dataclass(frozen=True)
class Finding:
    """One check of one pod.

    Attributes:
        check: name of the check, such as ``gpus``.
        ok: whether the pod has what was asked; None where that cannot be told.
        says: what was found and, where it is wrong, what to do.
    """

    check: str
    ok: bool | None
    says: str


def findings(container: Object) -> tuple[Finding, ...]:
    """Return what a container of a pod found; nothing where it is no check, or has not ended yet.

    Args:
        container: one of a pod's ``initContainerStatuses``.
    """
    if container.get("name") != CHECK:
        return ()
    message = (last_end(container) or {}).get("message", "")
    try:
        told = json.loads(message)["preflight"]
        return tuple(
            Finding(str(each["check"]), each["ok"], without_prefixes(str(each["says"]))) for each in told
        )
    except (ValueError, KeyError, TypeError):
        return ()  # cut off, or the end of a log: the container's exit code tells then


def summary(pods: Iterable[Object]) -> str:
    """Return what the checks of a role's pods found, in a few words.

    Args:
        pods: pods of one role.
    """
    checked = [found for pod in pods if (found := _of_pod(pod))]
    if not checked:
        return ""
    wrong = [each for found in checked for each in found if each.ok is False]
    if wrong:
        return f"{wrong[0].check}: {wrong[0].says}"[:_LONGEST]
    unclear = sorted({each.check for found in checked for each in found if each.ok is None})
    passed = f"passed in {counted(len(checked), 'pod')}"
    return f"{passed}, not told: {', '.join(unclear)}"[:_LONGEST] if unclear else passed


def _of_pod(pod: Object) -> tuple[Finding, ...]:
    statuses: Iterable[Any] = pod.get("status", {}).get("initContainerStatuses", [])
    return tuple(finding for container in statuses for finding in findings(container))
