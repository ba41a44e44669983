"""How the files of a deployment's model stand that are fetched into a cache. Pure.

Workers wait for the Job that fetches onto a shared volume. Where each node has a cache of its own, the pods
themselves wait, in their init containers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES, DownloadPlan, Plan
from disagg_operator.reconcile.kinds import JOB, Object
from disagg_operator.reconcile.observe import Observed, label
from disagg_operator.reconcile.reporting.fetching import (
    FAILED,
    FETCHED,
    PENDING,
    REFUSED,
    RUNNING,
    fetcher,
    has_fetched,
    told,
)
from disagg_operator.reconcile.reporting.troubles import first_trouble

PROGRESS_SECONDS = 10.0
"""Time between two looks at a download that runs: as often as it tells how far it is."""

_JOB_NAME = "batch.kubernetes.io/job-name"
_UNDER_WAY = "% fetched"
"""Part of each line by which `disagg_worker.download.progress` tells how far a download is."""


@dataclass(frozen=True)
class ModelStanding:
    """How the files of a model stand.

    Attributes:
        status, reason, message: of condition ModelReady.
        starts: whether workers may be started.
    """

    status: Literal["True", "False"]
    reason: str
    message: str
    starts: bool


def running(plan: Plan, observed: Observed) -> Object | None:
    """Return a pod that fetches the model now, whose log tells how far it is, or None."""
    download = _download(plan)
    pods = [] if download is None else _pods(plan, download, observed)
    return next((pod for pod in pods if "running" in (fetcher(pod) or {}).get("state", {})), None)


def model_standing(plan: Plan, observed: Observed, progress: str) -> ModelStanding | None:
    """Return how the files of a deployment's model stand, or None where nothing is fetched.

    Args:
        plan: what is desired.
        observed: what is there.
        progress: the last line of the log of the pod that fetches.
    """
    download = _download(plan)
    if download is None:
        return None
    pods = _pods(plan, download, observed)
    if download.name is None:
        return _of_nodes(download, pods, progress)
    job = observed.objects.get((JOB.kind, download.name))
    if job is not None and _is_complete(job):
        return ModelStanding("True", FETCHED, f"{_whole(download, pods)} In {download.cache}.", starts=True)
    return _under_way(download, pods, progress, starts=False)


def _of_nodes(download: DownloadPlan, pods: Sequence[Object], progress: str) -> ModelStanding:
    waiting = [pod for pod in pods if not has_fetched(fetcher(pod) or {})]
    if pods and not waiting:
        return ModelStanding("True", FETCHED, f"{_whole(download, pods)} In {download.cache}.", starts=True)
    # One that is refused says more than one that runs, and does not go away by waiting.
    ordered = sorted(waiting, key=lambda pod: told(fetcher(pod) or {}) is None)
    return _under_way(download, ordered, progress, starts=True)


def _under_way(
    download: DownloadPlan, pods: Sequence[Object], progress: str, *, starts: bool
) -> ModelStanding:
    found = next((each for pod in pods if (each := told(fetcher(pod) or {})) is not None), None)
    moves = _UNDER_WAY in progress
    if found is not None and not moves:
        reason = found.reason if found.reason in REFUSED else FAILED
        return ModelStanding("False", reason, found.says, starts)
    if any("running" in (fetcher(pod) or {}).get("state", {}) for pod in pods):
        message = f"{download.model} is being fetched into {download.cache}. {progress}".strip()
        return ModelStanding("False", RUNNING, message, starts)
    message = f"{download.model} is to be fetched into {download.cache}. {_waited_for(pods)}"
    return ModelStanding("False", PENDING, message, starts)


def _waited_for(pods: Sequence[Object]) -> str:
    if not pods:
        return "Its pod is being made."
    # A directory or volume that cannot be mounted stands in Events alone.
    look = f"Its pod is being started; if that lasts, see: kubectl describe pod {pods[0]['metadata']['name']}"
    return first_trouble(pods) or look


def _whole(download: DownloadPlan, pods: Iterable[Object]) -> str:
    """Say what was fetched, as well as it is known: the pod that did it may be gone."""
    ends = (told(container) for pod in pods if (container := fetcher(pod)) and has_fetched(container))
    return next((end.says for end in ends if end is not None), f"{download.model}.")


def _download(plan: Plan) -> DownloadPlan | None:
    """Return what fetches the model: a Job, or the pods of both roles."""
    if plan.download is not None:
        return plan.download
    return next((role.pod.download for role in plan.roles.values() if role.pod.download is not None), None)


def _pods(plan: Plan, download: DownloadPlan, observed: Observed) -> list[Object]:
    if download.name is None:
        return [pod for role in ROLES for pod in observed.pods_of(role, plan.revision)]
    return [pod for pod in observed.pods_of(names.DOWNLOAD, None) if label(pod, _JOB_NAME) == download.name]


def _is_complete(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)
