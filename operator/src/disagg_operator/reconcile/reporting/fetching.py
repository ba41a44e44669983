"""What a container that fetches a model told when it ended, from its termination message. Pure."""

import json
from dataclasses import dataclass

from disagg_operator.build.download import FETCH
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import container_statuses
from disagg_operator.reconcile.reporting.ends import ending, last_end

FETCHED, RUNNING, PENDING = "Fetched", "DownloadRunning", "DownloadPending"
FAILED = "DownloadFailed"
REFUSED = frozenset(
    {
        "ModelGated",
        "ModelNotFound",
        "RevisionNotFound",
        "TokenRefused",
        "NoFiles",
        "NoSpace",
        "NotWritable",
        "HubUnreachable",
        FAILED,
    }
)
"""Why a model cannot be fetched, in the words of `disagg_worker.download.errors`."""


@dataclass(frozen=True)
class Told:
    """How a download ended.

    Attributes:
        reason: stable word.
        says: what was fetched, or what is wrong and what to do next.
    """

    reason: str
    says: str


def fetcher(pod: Object) -> Object | None:
    """Return the status of the container of a pod that fetches, or None where there is none yet."""
    return next((each for each in container_statuses(pod) if each.get("name") == FETCH), None)


def has_fetched(container: Object) -> bool:
    """Tell whether a container ended well."""
    return bool(container.get("state", {}).get("terminated", {}).get("exitCode") == 0)


def told(container: Object) -> Told | None:
    """Return what a container told when it last ended; None before, and where it is another container.

    Args:
        container: one of a pod's ``initContainerStatuses`` or ``containerStatuses``.
    """
    if container.get("name") != FETCH:
        return None
    end = last_end(container)
    if end is None:
        return None
    try:
        found = json.loads(end.get("message", ""))["download"]
        return Told(str(found["reason"]), str(found["says"]))
    except (ValueError, KeyError, TypeError):
        # It was killed, or is no program of ours: the end of its log says more.
        return Told(FAILED, f"The download ended{ending(end)}. It is tried again.")
